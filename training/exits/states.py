"""What heads see: the states after some layers, pooled for each text, as the served graph computes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from app.inference.artifact import Artifact
from app.inference.backends.onnx import feed, open_session
from app.inference.batches import group_by_length
from app.inference.padding import pad
from app.inference.text import normalise
from app.inference.tokenizer import Tokenizer
from onnx_export.cut import layer_ends

_TEXTS, _TOKENS = 16, 512  # of a batch

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pooled:
    """Texts as the model sees them. All arrays have a row for each text.

    `logits` are those of the whole model: float32 of shape (texts, labels). `states` has the state of the first token,
    and the mean and the largest values of all, after each layer: float32 of shape (texts, 3 * width). `tokens` are the
    lengths.
    """

    logits: Array
    states: dict[int, Array]
    tokens: NDArray[np.int64]

    def take(self, places: NDArray[np.int64]) -> "Pooled":
        """Return some of the texts."""
        states = {layer: values[places] for layer, values in self.states.items()}
        return Pooled(self.logits[places], states, self.tokens[places])


def pool(artifact: Artifact, graph: Path, texts: Sequence[str], layers: Sequence[int]) -> Pooled:
    """Run `graph` on texts, which must have a visible character; `layers` count from 1."""
    model = onnx.load(graph)
    ends = layer_ends(model)
    names = [ends[layer - 1] for layer in layers]
    output = model.graph.output[0].name
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = open_session(model.SerializeToString())
    inputs = [node.name for node in session.get_inputs()]
    tokenizer = Tokenizer.load(artifact.directory, artifact.max_tokens)
    encodings = tokenizer.encode_many([normalise(text) for text in texts])
    lengths = [*map(len, encodings)]
    logits = np.zeros((len(texts), len(artifact.labels)), dtype=np.float32)
    pooled: dict[int, Array] = {}
    for places in group_by_length(lengths, _TEXTS, _TOKENS):
        batch = pad([encodings[place] for place in places], artifact.pad_id)
        logits[places], *states = session.run([output, *names], feed(inputs, batch))
        ends_of_texts = batch.attention_mask.sum(axis=1).cumsum()
        starts = ends_of_texts - batch.attention_mask.sum(axis=1)
        for layer, values in zip(layers, states, strict=True):
            means = np.add.reduceat(values, starts) / batch.attention_mask.sum(axis=1, keepdims=True)
            largest = np.maximum.reduceat(values, starts)
            rows = pooled.setdefault(layer, np.zeros((len(texts), 3 * values.shape[1]), dtype=np.float32))
            rows[places] = np.concatenate([values[starts], means, largest], axis=1)
    return Pooled(logits, pooled, np.array(lengths))
