"""Training on a handful of rows: small enough to run, real enough to learn."""

from pathlib import Path

import numpy as np
import pytest

from tests.process import Server
from training.evaluate import evaluate, measure, server_scorer
from training.examples import Example, read


class TestData:
    def test_files_are_read_normalised_and_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.tsv").write_text('label\ttext\npositive\tSo "good"<br />and  http://x.y @me\n')
        (tmp_path / "b.tsv").write_text("label\ttext\nneutral\tplain\n")
        assert read(tmp_path) == [
            Example('So "good" and http @user', "positive", "a"),
            Example("plain", "neutral", "b"),
        ]

    def test_another_header_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.tsv").write_text("text\tlabel\na\tb\n")
        with pytest.raises(ValueError, match="expected the columns label and text"):
            read(tmp_path)


class TestMeasure:
    def test_a_set_without_neutral_is_measured_on_its_two_classes(self) -> None:
        scores = np.array([[0.3, 0.5, 0.2], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3]])
        assert measure(scores, [0, 2, 0]) == {"accuracy": 0.6667, "macro_recall": 0.75, "macro_f1": 0.6667}

    def test_three_classes(self) -> None:
        scores = np.eye(3)[[0, 1, 2, 2]]
        assert measure(scores, [0, 1, 2, 1]) == {"accuracy": 0.75, "macro_recall": 0.8333, "macro_f1": 0.7778}


def test_a_running_server_is_measured_through_its_api(server: Server) -> None:
    texts = {"I love it.": "positive", "I hate it.": "negative", "It is on the table.": "neutral"}
    rows = [Example(text, label, "dev") for text, label in texts.items()]
    assert evaluate(server_scorer(server.address, texts_a_request=2), rows)["dev"]["accuracy"] == 1
