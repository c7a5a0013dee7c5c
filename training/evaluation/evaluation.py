"""The evaluation of one target: the figures of every set."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from training.data import Example, check_labels
from training.errors import InputError
from training.evaluation.metrics import Report, Scored, measure, pool, score
from training.evaluation.targets import Target

ALL = "all"  # name of the rows of all sets together, where each row is measured over the classes of its own set


@dataclass(frozen=True, slots=True)
class Answer:
    """A text with its label and the label that the target gives it, chosen from all labels."""

    text: str
    line: int  # in its file; 0 if unknown
    label: str
    predicted: str
    confidence: float  # of the predicted label
    confidence_of_label: float

    @property
    def is_right(self) -> bool:
        return self.label == self.predicted


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Reports on one target by set, the label that it gives each text, chosen from all labels, and its answers."""

    target: str
    labels: tuple[str, ...]
    reports: dict[str, Report]
    predicted: dict[str, list[str]]
    answers: dict[str, list[Answer]]  # by set; not those of all sets together

    def other_labels(self, reference: "Evaluation") -> dict[str, float]:
        """Return the share of texts of each set that `reference` gives another label."""
        return {
            name: float(np.mean(np.array(labels) != np.array(reference.predicted[name])))
            for name, labels in self.predicted.items()
        }


def evaluate_target(target: Target, examples: Sequence[Example]) -> Evaluation:
    """Score every set in `examples`.

    Raises `InputError` for a row without a label or with a label that the target does not have.
    """
    examples = check_labels(examples, target.labels, f"{target.name} has")
    scored: dict[str, Scored] = {}
    answers: dict[str, list[Answer]] = {}
    for name in sorted({example.source for example in examples}):
        members = [example for example in examples if example.source == name]
        truth = [target.labels.index(str(example.label)) for example in members]
        scored[name] = score(target.score([example.text for example in members]), truth)
        answers[name] = _answers(members, scored[name], target.labels)
    if ALL in scored:
        raise InputError(f"a set cannot be called {ALL}: that name is used for the rows of all sets together")
    if len(scored) > 1:
        scored[ALL] = pool(list(scored.values()))
    return Evaluation(
        target.name,
        target.labels,
        {name: measure(rows, target.labels) for name, rows in scored.items()},
        {name: [target.labels[best] for best in rows.over_all.argmax(axis=1)] for name, rows in scored.items()},
        answers,
    )


def _answers(examples: Sequence[Example], rows: Scored, labels: Sequence[str]) -> list[Answer]:
    best = rows.over_all.argmax(axis=1)
    return [
        Answer(example.text, example.line, labels[truth], labels[chosen], float(scores[chosen]), float(scores[truth]))
        for example, truth, chosen, scores in zip(examples, rows.truth, best, rows.over_all, strict=True)
    ]


def as_json(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Convert evaluations for JSON. `other_labels` compares each target with the first."""
    return [
        {
            "target": evaluation.target,
            "labels": evaluation.labels,
            "sets": {
                name: asdict(report) | {"other_labels": evaluation.other_labels(evaluations[0])[name]}
                for name, report in evaluation.reports.items()
            },
        }
        for evaluation in evaluations
    ]
