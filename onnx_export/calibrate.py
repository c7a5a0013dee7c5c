"""Ranges of activations, from sample texts.

A scale that is computed from a batch makes the answer to a text depend on the other texts in its batch. So each
activation has one range, which fits the sample texts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from app.inference.backends.onnx import feed, open_session
from app.inference.padding import pad
from app.types import Encoding

_TOKENS = 3000  # kept of each activation
_SHRINK = 0.96  # between the candidates for an end of a range
_WORSE = 1.5  # times the lowest error, at which the search ends
_ROUNDS = 2
_LEVELS = 255

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Range:
    """The values that an 8-bit activation can represent: `scale * (level - zero_point)`, with levels 0 to 255."""

    scale: float
    zero_point: int

    @classmethod
    def between(cls, low: float, high: float) -> "Range":
        """Return the range from `low`, at most 0, to `high`, at least 0."""
        scale = (high - low) / _LEVELS or 1.0
        return cls(scale, round(-low / scale))

    def round(self, values: Array) -> Array:
        """Return the values that are represented."""
        levels = np.clip(np.rint(values / np.float32(self.scale)) + self.zero_point, 0, _LEVELS)
        rounded: Array = (levels - self.zero_point) * np.float32(self.scale)
        return rounded


def record(graph: Path, names: Sequence[str], encodings: Sequence[Encoding], pad_id: int) -> dict[str, Array]:
    """Run each text alone, and return values of the tensors `names`: float32 of shape (tokens, width).

    Of long texts only some tokens are kept, chosen at random.
    """
    model = onnx.load(graph)
    outputs = len(model.graph.output)
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    watched = graph.with_suffix(".watched.onnx")
    onnx.save(model, watched)
    session = open_session(watched)
    inputs = [node.name for node in session.get_inputs()]
    share = min(1.0, _TOKENS / max(1, sum(map(len, encodings))))
    rng = np.random.default_rng(0)
    kept: list[list[Array]] = [[] for _ in names]
    for encoding in encodings:
        values = session.run(None, feed(inputs, pad([encoding], pad_id)))[outputs:]
        for rows, value in zip(kept, values, strict=True):
            flat = value.reshape(-1, value.shape[-1])
            # The last layer has a single row for each text.
            rows.append(flat if len(flat) == 1 else flat[rng.random(len(flat)) < share])
    watched.unlink()
    return {name: np.concatenate(rows) for name, rows in zip(names, kept, strict=True)}


def best_range(values: Array, weights: Array) -> Range:
    """Return the range with the smallest error in the products of `values` and `weights`.

    A wider range cuts fewer values off, but has larger steps between the values that it can represent. `values` has the
    shape (tokens, inputs), `weights` (inputs, outputs).
    """
    importance = np.square(weights, dtype=np.float64).sum(axis=1)
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)

    def error(lowest: float, highest: float) -> float:
        squares = np.square(Range.between(lowest, highest).round(values) - values)
        return float(squares.mean(axis=0, dtype=np.float64) @ importance)

    best_low, best_high = low, high
    for _ in range(_ROUNDS):
        best_high = _best_end(high, lambda end, low=best_low: error(low, end))
        best_low = _best_end(low, lambda end, high=best_high: error(end, high))
    return Range.between(best_low, best_high)


def _best_end(end: float, error: Callable[[float], float]) -> float:
    """Return the best of `end` and values closer to 0; stop when the error has grown."""
    best, lowest = end, error(end)
    while end and (now := error(end := end * _SHRINK)) < _WORSE * lowest:
        if now < lowest:
            best, lowest = end, now
    return best
