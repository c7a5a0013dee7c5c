"""The evaluation of real models, and the command that prints it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.process import ROOT
from training.data import LABELS, Example
from training.evaluation import Target, as_json, evaluate_target, open_targets
from training.evaluation.evaluation import ALL

ROWS = [
    Example("I love it.", "positive", "a"),
    Example("I hate it.", "negative", "a"),
    Example("It is on the table.", "neutral", "b"),
    Example("An absolute waste of money, " * 30, "negative", "b"),
]


class TestEvaluate:
    def test_each_backend_that_works_is_a_target(self) -> None:
        both = [evaluate_target(target, ROWS) for target in open_targets("sentiment-en")]
        assert [each.target for each in both] == ["sentiment-en onnx int8", "sentiment-en torch fp32"]
        assert [list(each.reports) for each in both] == [["a", "b", ALL]] * 2
        assert [each.reports[ALL].accuracy for each in both] == [1, 1]
        assert both[1].other_labels(both[0]) == {"a": 0, "b": 0, ALL: 0}

    def test_unknown_and_missing_labels_are_rejected(self) -> None:
        target = Target("mine", ("bad", "good"), lambda texts: np.full((len(texts), 2), 0.5))
        with pytest.raises(ValueError, match="a row with the label neutral; mine has bad, good"):
            evaluate_target(target, [Example("a", "neutral", "set")])
        with pytest.raises(ValueError, match="a row without a label"):
            evaluate_target(target, [Example("a", None, "set")])

    def test_a_set_called_all_is_rejected(self) -> None:
        target = Target("mine", ("bad", "good"), lambda texts: np.full((len(texts), 2), 0.5))
        with pytest.raises(ValueError, match="a set cannot be called all"):
            evaluate_target(target, [Example("a", "good", "all")])

    def test_all_measures_each_row_over_the_classes_of_its_set(self) -> None:
        rows = [Example("x", "negative", "two"), Example("y", "positive", "two"), Example("z", "neutral", "three")]
        rows += [Example("v", "negative", "three"), Example("w", "positive", "three")]
        evaluation = evaluate_target(Target("t", LABELS, lambda texts: np.tile([0.3, 0.5, 0.2], (len(texts), 1))), rows)
        assert evaluation.reports["two"].accuracy == 0.5
        assert evaluation.reports["three"].accuracy == pytest.approx(1 / 3)
        assert (evaluation.reports[ALL].rows, evaluation.reports[ALL].accuracy) == (5, pytest.approx(2 / 5))

    def test_the_share_of_other_labels_is_by_set(self) -> None:
        first, second = (
            evaluate_target(Target("t", LABELS, lambda texts, best=best: np.eye(3)[best[: len(texts)]]), ROWS)
            for best in ([0, 1, 2], [0, 2, 2])
        )
        assert second.other_labels(first) == {"a": 0.5, "b": 0.5, ALL: 0.5}
        assert [each["sets"]["a"]["other_labels"] for each in as_json([first, second])] == [0, 0.5]


class TestCommand:
    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        path = tmp_path / "films.tsv"
        path.write_text("label\ttext\n" + "".join(f"{row.label}\t{row.text}\n" for row in ROWS))
        return path

    def test_it_prints_tables_and_writes_json_and_plots(self, data: Path, tmp_path: Path) -> None:
        flags = ["--backend", "onnx", "--json", str(tmp_path / "figures.json"), "--plots", str(tmp_path / "plots")]
        done = self.run("training", "evaluate", "sentiment-en", "--data", str(data), *flags)
        assert done.returncode == 0, done.stderr
        header, line = done.stdout.splitlines()[:2]
        assert header.split()[:4] == ["set", "rows", "target", "accuracy"]
        assert line.split()[:6] == ["films", "4", "sentiment-en", "onnx", "int8", "100.00"]
        assert re.search(r"^negative +2 +0 +0 +100\.00$", done.stdout, flags=re.MULTILINE)
        (figures,) = json.loads((tmp_path / "figures.json").read_text())
        assert figures["target"] == "sentiment-en onnx int8"
        assert figures["sets"]["films"]["accuracy"] == 1
        assert figures["sets"]["films"]["classes"]["neutral"]["rows"] == 1
        names = {file.name for file in (tmp_path / "plots").iterdir()}
        assert names == {"confusion.png", "reliability.png"}

    def test_an_error_is_one_line(self, data: Path) -> None:
        done = self.run("training", "evaluate", "nothing-here", "--data", str(data))
        assert done.returncode == 1
        assert done.stderr.startswith("evaluate: no such model: nothing-here")

    def test_torch_is_imported_only_for_a_torch_target(self, data: Path) -> None:
        code = (
            "import sys, runpy; sys.modules['torch'] = None; "
            f"sys.argv = ['x', 'evaluate', 'sentiment-en', '--backend', 'onnx', '--data', {str(data)!r}]; "
            "runpy.run_module('training', run_name='__main__')"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    @staticmethod
    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False)
