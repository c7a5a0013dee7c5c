"""What a model answers to each text: all predictions as CSV, and its worst mistakes as CSV and as a page."""

import csv
from collections.abc import Iterable
from pathlib import Path

from training.evaluation.evaluation import Answer, Evaluation
from training.evaluation.pages import mistakes_page

WORST = 100
_HEADER = ("set", "line", "text", "label", "predicted", "confidence", "confidence_of_label")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a cell that begins with one
Named = tuple[str, Answer]  # with the name of its set


def write_predictions(evaluation: Evaluation, file: Path) -> None:
    """Write every text with its label and its prediction to `file`, as CSV."""
    _write_csv(((name, answer) for name, answers in evaluation.answers.items() for answer in answers), file)


def worst_mistakes(evaluation: Evaluation, most: int = WORST) -> list[Named]:
    """Return the wrong answers with the highest confidence. Many of them are wrong labels in the data."""
    wrong = [(name, each) for name, answers in evaluation.answers.items() for each in answers if not each.is_right]
    return sorted(wrong, key=lambda named: -named[1].confidence)[:most]


def write_mistakes(evaluation: Evaluation, directory: Path, title: str) -> None:
    """Write the worst mistakes to `mistakes.csv` and `mistakes.html` in `directory`."""
    worst = worst_mistakes(evaluation)
    directory.mkdir(parents=True, exist_ok=True)
    _write_csv(worst, directory / "mistakes.csv")
    (directory / "mistakes.html").write_text(
        mistakes_page([each for _, each in worst], title, is_cut=len(worst) == WORST), encoding="utf-8"
    )


def _write_csv(answers: Iterable[Named], file: Path) -> None:
    # utf-8-sig: Excel reads other files in the encoding of the system.
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(_HEADER)
        for name, each in answers:
            scores = (f"{each.confidence:.4f}", f"{each.confidence_of_label:.4f}")
            writer.writerow(
                (_cell(name), each.line or "", *map(_cell, (each.text, each.label, each.predicted)), *scores)
            )


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
