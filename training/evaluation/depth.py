"""What the exits of a model change, by the layers that texts go through."""

import time
from collections.abc import Sequence

import numpy as np

from app.inference.artifact import open_artifact
from app.inference.model import Model, load_model
from app.types import Prediction
from training.data import Example
from training.evaluation.tables import aligned

_HEADER = ("set", "layers", "rows", "share", "accuracy", "whole model", "other label", "confidence", "whole model")


def depth_table(model: str, examples: Sequence[Example]) -> str | None:
    """Compare the answers of a model with exits with those of all its layers, in percent; None if it has no exits.

    Accuracy is over all classes. A calibrated model is as often right as its mean confidence says.
    """
    if open_artifact(model).exits is None:
        return None
    with_exits, whole = (load_model(model, backend="onnx", device="cpu", depth=depth) for depth in ("auto", "full"))
    if not with_exits.info.exits:
        return None
    lines, early_s, late_s = [_HEADER], 0.0, 0.0
    for name in sorted({example.source for example in examples}):
        rows = [example for example in examples if example.source == name]
        early, seconds = _timed(with_exits, rows)
        early_s += seconds
        late, seconds = _timed(whole, rows)
        late_s += seconds
        for layers in sorted({each.layers for each in early}):
            places = [place for place, each in enumerate(early) if each.layers == layers]
            lines.append(_line(name, layers, places, (rows, early, late)))
        lines.append(_line(name, 0, range(len(rows)), (rows, early, late)))
    return f"{aligned(lines, {0})}\nThe model with exits took {early_s / late_s:.2f} of the time of all layers."


def _timed(model: Model, rows: Sequence[Example]) -> tuple[list[Prediction], float]:
    started_s = time.perf_counter()
    predictions = model.predict([row.text for row in rows])
    return predictions, time.perf_counter() - started_s


def _line(
    name: str,
    layers: int,
    places: Sequence[int],
    columns: tuple[Sequence[Example], Sequence[Prediction], Sequence[Prediction]],
) -> tuple[str, ...]:
    rows, early, late = ([column[place] for place in places] for column in columns)
    pairs = list(zip(rows, early, late, strict=True))

    def percent(values: Sequence[float]) -> str:
        return f"{100 * float(np.mean(values)):.2f}"

    return (
        name,
        str(layers or "all"),
        str(len(pairs)),
        f"{100 * len(pairs) / len(columns[0]):.1f}",
        percent([row.label == one.label for row, one, _ in pairs]),
        percent([row.label == two.label for row, _, two in pairs]),
        percent([one.label != two.label for _, one, two in pairs]),
        percent([one.confidence for _, one, _ in pairs]),
        percent([two.confidence for _, _, two in pairs]),
    )
