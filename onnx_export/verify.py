"""Whether a quantised model still says what the original said. An artifact that doesn't is not written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from app.inference.artifact import open_artifact
from app.inference.backends.onnx import feed, open_session
from app.inference.model import load_model
from app.inference.packing import pack, pad
from app.inference.text import normalise
from app.inference.tokenizer import Tokenizer
from app.types import Batch
from training.errors import InputError

_ROW_TEXTS = 12
_FEWEST = 6
_SAME = 1e-3  # of logits in float32, whose last digits go by the order of additions

Logits = NDArray[np.float32]


class Unfaithful(Exception):
    """The int8 model differs too much from the fp32 one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much int8 may differ from fp32 on each sample."""

    lost_points: float = 0.5  # of accuracy, in percent
    other_labels: float = 2.0  # percent of the texts


@dataclass(frozen=True, slots=True)
class Sample:
    """Texts to compare on, with their labels where these are known."""

    name: str
    texts: Sequence[str]
    labels: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Parity:
    """int8 against fp32 on one sample, in percent. Accuracy is over the classes that it has; None without labels."""

    texts: int
    disagreement: float
    fp32_accuracy: float | None = None
    int8_accuracy: float | None = None

    def check(self, name: str, limits: Limits) -> None:
        """Raise `Unfaithful` over either limit."""
        lost = round((self.fp32_accuracy or 0.0) - (self.int8_accuracy or 0.0), 2)
        if lost > limits.lost_points:
            raise Unfaithful(f"{name}: int8 loses {lost:.2f} points of accuracy; {limits.lost_points:g} are allowed")
        if self.disagreement > limits.other_labels:
            raise Unfaithful(
                f"{name}: int8 gives another label to {self.disagreement:.2f} % of the texts; "
                f"{limits.other_labels:g} % are allowed"
            )


def compare(sample: Sample, names: Sequence[str], fp32: Logits, int8: Logits) -> Parity:
    """Hold the logits of both models on `sample` against each other; `names` are the labels in the model's order."""
    disagreement = round(100 * float((fp32.argmax(axis=1) != int8.argmax(axis=1)).mean()), 2)
    if sample.labels is None:
        return Parity(len(sample.texts), disagreement)
    unknown = sorted(set(sample.labels) - set(names))
    if unknown:
        raise InputError(f"{sample.name}: the model has no label {', '.join(unknown)}; it has {', '.join(names)}")
    truth = np.array([names.index(label) for label in sample.labels])
    return Parity(len(sample.texts), disagreement, _accuracy(fp32, truth), _accuracy(int8, truth))


def _accuracy(logits: Logits, truth: NDArray[np.int64]) -> float:
    present = np.unique(truth)
    return round(100 * float((present[logits[:, present].argmax(axis=1)] == truth).mean()), 2)


def loads(file: Path) -> bool:
    """Whether ONNX Runtime takes a graph."""
    try:
        open_session(file)
    except Exception:  # its exceptions have no common base but this
        return False
    return True


def keeps_apart(packed: Path, plain: Path, texts: Sequence[str]) -> bool:
    """Whether a float32 graph says of texts in rows what another says of each alone; the companions lie beside it."""
    artifact = open_artifact(str(packed.parent))
    tokenizer = Tokenizer.load(artifact.directory, artifact.max_tokens)
    # Of all lengths, and twice as many as there are rows at least, or some would have one to themselves.
    chosen = sorted(texts, key=len)[:: max(1, len(texts) // _ROW_TEXTS)]
    encodings = tokenizer.encode_many([normalise(text) for text in chosen])
    if len(encodings) < _FEWEST:
        return False
    alone = open_session(plain)
    expected = np.concatenate([_run(alone, pad([encoding], artifact.pad_id)) for encoding in encodings])
    try:
        session = open_session(packed)
        layouts = [pack(encodings, artifact.pad_id, rows=rows) for rows in (1, 3)]
        found = [_run(session, rows)[places] for rows, places in layouts]
    except Exception:  # see `loads`
        return False
    return all(np.abs(together - expected).max() < _SAME for together in found)


def _run(session: InferenceSession, batch: Batch) -> Logits:
    logits: Logits = session.run(None, feed([node.name for node in session.get_inputs()], batch))[0]
    return logits


def logits_of(directory: Path, precision: str, texts: Sequence[str]) -> Logits:
    """Logits of shape (texts, labels) from the file of that precision, one text at a time, as a lone one is served."""
    model = load_model(str(directory), backend="onnx", device="cpu", precision=precision, slots=1)
    return model.logits(texts, batch_size=1)
