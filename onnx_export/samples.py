"""The texts that an export works with: those that are given, or sentences of the project."""

from collections.abc import Sequence

from onnx_export.verify import Sample
from training.data import Example
from training.evaluation import suite_examples

_SUITE_STEP = 5  # every fifth sentence of the behavioural suite is compared


def samples_of(examples: list[Example]) -> list[Sample]:
    """Return the sets in `examples`, or sentences of all kinds from the behavioural suite if there are none."""
    sets: dict[str, list[Example]] = {}
    for example in examples or suite_examples()[::_SUITE_STEP]:
        sets.setdefault(example.source, []).append(example)
    return [Sample(name, *_columns(rows)) for name, rows in sets.items()]


def _columns(rows: list[Example]) -> tuple[list[str], list[str] | None]:
    labels = [row.label for row in rows if row.label is not None]
    return [row.text for row in rows], labels if len(labels) == len(rows) else None


def texts_of(samples: Sequence[Sample]) -> list[str]:
    return [text for sample in samples for text in sample.texts]


def evenly(texts: Sequence[str], number: int) -> list[str]:
    """Return `number` of `texts`, or all if there are fewer, from the whole sequence."""
    number = min(number, len(texts))
    return [texts[index * len(texts) // number] for index in range(number)]
