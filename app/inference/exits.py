"""Exits of a model: where a text leaves early, because a head after some of the layers is sure of the label.

`exits.json` describes them. `python -m training exits` writes it, with the graphs of the parts between the exits.
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArtifactError
from .files import ModelFiles

EXITS = "exits.json"
# Names of inputs and outputs of the graph of a part.
STATES, NEXT_STATES, LOGITS = "states", "next_states", "logits"
PARTS = "*.part*.onnx"  # the names of graphs of parts
_CLOSE = 0.002
_MOST_LAYERS = 1000


@dataclass(frozen=True, slots=True)
class Exit:
    """A head after `layers` layers. A text leaves here if its confidence is at least the threshold of its label.

    The confidence is that of the softmax of the head's logits, divided by `temperature`. `thresholds` are in the order
    of the labels.
    """

    layers: int
    temperature: float
    thresholds: tuple[float, ...]

    def judge(self, scores: NDArray[np.float64]) -> tuple[list[bool], list[bool]]:
        """Return which texts leave, and which of these decisions are close. `scores` has the shape (texts, labels).

        A decision is close if the last digits of the scores could change it. They depend on the shape of a batch.
        """
        highest = scores.max(axis=1, keepdims=True)
        margins = scores - np.array(self.thresholds)
        leaves = margins[np.arange(len(scores)), scores.argmax(axis=1)] >= 0
        other = (margins >= 0) != leaves[:, np.newaxis]  # what a label that is as likely would decide
        close = ((scores > highest - _CLOSE) & ((np.abs(margins) < _CLOSE) | other)).any(axis=1)
        return leaves.tolist(), close.tolist()


@dataclass(frozen=True, slots=True)
class Exits:
    """The exits of a model with `layers` layers, and the graphs of the parts, which were cut from the graph `of`."""

    of: str
    layers: int
    parts: tuple[str, ...]
    exits: tuple[Exit, ...]

    def render(self) -> dict[str, Any]:
        """Return what `exits.json` has."""
        return asdict(self)


def read_exits(files: ModelFiles, labels: int) -> Exits | None:
    """Return the exits of a model with so many labels, or None if it has none.

    Raises `ArtifactError` if they are not valid.
    """
    if not files.has(EXITS):
        return None
    place = files.directory / EXITS
    stated = files.read_json(EXITS)
    of, layers, parts, exits = _all(stated, "of", "layers", "parts", "exits")
    if not isinstance(of, str) or not _is_count(layers):
        raise ArtifactError(f"{place}: `of` must name a graph, and `layers` must be a number of layers")
    if not isinstance(exits, list) or not exits or not all(isinstance(each, dict) for each in exits):
        raise ArtifactError(f"{place}: `exits` must be a list of objects")
    read = tuple(_read_exit(each, labels, place) for each in exits)
    after = [each.layers for each in read]
    if sorted({*after}) != after or after[-1] >= layers:
        raise ArtifactError(f"{place}: exits must be in the order of their layers, and before the last of {layers}")
    if not isinstance(parts, list) or len(parts) != len(exits) + 1 or not all(map(_is_name, parts)):
        raise ArtifactError(f"{place}: `parts` must name one graph more than there are exits")
    if len({of, *parts}) != len(parts) + 1:
        raise ArtifactError(f"{place}: `of` and `parts` must name different graphs")
    if missing := [name for name in (of, *parts) if not files.has(name)]:
        raise ArtifactError(f"{place}: the file {missing[0]} is missing")
    return Exits(of, layers, tuple(parts), read)


def _read_exit(stated: dict[str, Any], labels: int, place: Path) -> Exit:
    layers, temperature, thresholds = _all(stated, "layers", "temperature", "thresholds")
    if not _is_count(layers):
        raise ArtifactError(f"{place}: the `layers` of an exit must be a number of layers")
    if not _is_positive(temperature):
        raise ArtifactError(f"{place}: the `temperature` of an exit must be a number above 0")
    if not isinstance(thresholds, list) or len(thresholds) != labels or not all(map(_is_positive, thresholds)):
        raise ArtifactError(f"{place}: the `thresholds` of an exit must be a number above 0 for each label")
    return Exit(layers, float(temperature), tuple(map(float, thresholds)))


def _all(stated: dict[str, Any], *names: str) -> list[Any]:
    return [stated.get(name) for name in names]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_LAYERS


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= sys.float_info.max


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and Path(value).name == value and value.endswith(".onnx")
