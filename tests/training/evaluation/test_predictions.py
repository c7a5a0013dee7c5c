"""Predictions, worst mistakes and confusion matrices as files for people."""

import csv
from pathlib import Path

import numpy as np
import pytest

from training.data import Example
from training.evaluation import (
    Evaluation,
    Target,
    evaluate_target,
    worst_mistakes,
    write_confusion,
    write_mistakes,
    write_predictions,
)

LABELS = ("返金", "delivery", "<b>other</b>")
ROWS = [
    Example("Where is my money?", "返金", "a", line=2),
    Example("Where is it?", "delivery", "a", line=3),
    Example("=1+1", "delivery", "a", line=4),
    Example("<script>alert(1)</script>\n私は", "<b>other</b>", "b"),
]
SCORES = np.array([[0.9, 0.05, 0.05], [0.7, 0.2, 0.1], [0.95, 0.04, 0.01], [0.1, 0.5, 0.4]])


@pytest.fixture
def evaluation() -> Evaluation:
    by_text = {row.text: scores for row, scores in zip(ROWS, SCORES, strict=True)}
    return evaluate_target(Target("mine", LABELS, lambda texts: np.array([by_text[text] for text in texts])), ROWS)


def read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_text_is_written_with_its_line_its_label_and_its_answer(evaluation: Evaluation, tmp_path: Path) -> None:
    write_predictions(evaluation, tmp_path / "predictions.csv")
    rows = read(tmp_path / "predictions.csv")
    assert [row["line"] for row in rows] == ["2", "3", "4", ""]
    assert rows[1] == {
        "set": "a",
        "line": "3",
        "text": "Where is it?",
        "label": "delivery",
        "predicted": "返金",
        "confidence": "0.7000",
        "confidence_of_label": "0.2000",
    }


def test_a_spreadsheet_does_not_run_a_text_as_a_formula(evaluation: Evaluation, tmp_path: Path) -> None:
    write_predictions(evaluation, tmp_path / "predictions.csv")
    assert read(tmp_path / "predictions.csv")[2]["text"] == "'=1+1"


def test_the_worst_mistakes_are_the_most_confident_ones(evaluation: Evaluation, tmp_path: Path) -> None:
    assert [answer.line for _, answer in worst_mistakes(evaluation)] == [4, 3, 0]
    assert [answer.line for _, answer in worst_mistakes(evaluation, 1)] == [4]
    write_mistakes(evaluation, tmp_path / "new", "Mistakes of <mine>")
    assert [row["line"] for row in read(tmp_path / "new" / "mistakes.csv")] == ["4", "3", ""]


def test_the_page_of_mistakes_shows_texts_and_runs_none(evaluation: Evaluation, tmp_path: Path) -> None:
    write_mistakes(evaluation, tmp_path, "Mistakes of <mine>")
    page = (tmp_path / "mistakes.html").read_text(encoding="utf-8")
    assert "<h1>Mistakes of &lt;mine&gt;</h1>" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\n私は" in page
    assert "95.0 %" in page
    assert "<script" not in page
    assert "<b>" not in page


def test_the_page_of_a_confusion_matrix_has_labels_of_any_language(evaluation: Evaluation, tmp_path: Path) -> None:
    write_confusion(evaluation, tmp_path / "confusion.html", "Confusion")
    page = (tmp_path / "confusion.html").read_text(encoding="utf-8")
    assert "<h2>a</h2>" in page
    assert 'title="delivery as 返金: 100 %"' in page
    assert "&lt;b&gt;other&lt;/b&gt;" in page
    assert "<b>" not in page
