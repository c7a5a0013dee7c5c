"""Several trainings on the same table: each in a directory of its own, so that they can be interrupted and resumed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data import Example
from training.evaluation import ALL, Evaluation, Report
from training.fit import Choice, FinishedRun, fine_tune, start_directory
from training.workflow.results import evaluate_checkpoint


@dataclass(frozen=True, slots=True)
class Trial:
    """A finished training with its choice and its figures on the rows to measure on."""

    directory: Path
    choice: Choice
    evaluation: Evaluation

    @property
    def report(self) -> Report:
        return main_report(self.evaluation)


def run_trial(directory: Path, choice: Choice, train: Sequence[Example], dev: Sequence[Example]) -> Trial:
    """Train in `directory`, or take what has been trained there with the same settings."""
    start = start_directory(choice.start)
    try:
        evaluation = fine_tune(start, directory, train, dev, choice.recipe)
    except FinishedRun:
        evaluation = evaluate_checkpoint(directory / "checkpoint", dev)
    return Trial(directory, choice, evaluation)


def main_report(evaluation: Evaluation) -> Report:
    """Return the figures of all sets together, or of the only one."""
    return evaluation.reports.get(ALL) or next(iter(evaluation.reports.values()))
