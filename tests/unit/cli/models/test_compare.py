"""`models compare` with a file: both models run here."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.cli.exits import WRONG_USAGE, Failure
from app.cli.models import compare as command
from app.cli.models.trial import try_both
from app.errors import TableOptionError
from tests.support.command import read_jsonl
from tests.support.compared import FakeScorer, run
from tests.support.process import ROOT

TABLE = "text,right\nfine food,good\npoor food,bad\nnice room,Good\n?,good\nnice view,\nbad view,1\n"


@pytest.fixture
def scorers(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeScorer]:
    """The models that the command loads, by their names."""
    models = {"old": FakeScorer("m 1", "fine"), "new": FakeScorer("m 2", "fine", "nice")}
    models["other"] = FakeScorer("o 1", "fine", labels=("poor", "good"))
    monkeypatch.setattr(command, "_load", lambda name, _flags: models[name])
    return models


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "in.csv").write_text(TABLE)
    return tmp_path / "in.csv"


def report(*args: object) -> dict[str, Any]:
    result = run(*args, "--json")
    assert result.return_value == 0, result.exception
    content: dict[str, Any] = json.loads(result.stdout)
    return content


@pytest.mark.usefixtures("scorers")
def test_the_figures_of_a_file_with_labels(table: Path) -> None:
    found = report("old", "new", table, "--label-column", "right")
    assert (found["texts"], found["errors"]) == (5, 1)
    assert (found["a"]["model"], found["b"]["model"]) == ("m 1", "m 2")
    assert (found["a"]["labels"], found["b"]["labels"]) == ({"bad": 4, "good": 1}, {"bad": 2, "good": 3})
    assert (found["agreement"]["count"], found["agreement"]["whole"], found["agreement"]["value"]) == (3, 5, 0.6)
    assert (found["a"]["accuracy"]["count"], found["a"]["accuracy"]["whole"]) == (2, 4)
    assert (found["b"]["accuracy"]["count"], found["b"]["accuracy"]["whole"]) == (3, 4)
    accuracy = found["accuracy"]
    assert (accuracy["only_a_right"], accuracy["only_b_right"], accuracy["p"]) == (0, 1, 1.0)
    assert accuracy["difference"] == 0.25
    assert accuracy["interval"][0] < 0.25 < accuracy["interval"][1]
    assert found["score_difference"]["max"] == pytest.approx(0.7)
    assert [(each["row"], each["a"], each["b"], each["right"]) for each in found["largest"]] == [
        (3, "bad", "good", "good"),
        (5, "bad", "good", None),
    ]
    assert found["a"]["latency_ms"].keys() == {"p50", "p95", "p99"}
    assert found["a"]["texts_per_s"] > 0
    assert found["words"].startswith("Of 5 texts the two versions gave 3 (60.0 %) the same label.")


@pytest.mark.usefixtures("scorers")
def test_people_get_tables_and_the_verdict_but_no_texts(table: Path) -> None:
    result = run("old", "new", table, "--label-column", "right")
    assert result.return_value == 0
    for shown in ("m 1", "m 2", "label bad", "80.0 %", "accuracy (95 % interval)", "75.0 %", "texts/s in batches",
                  "largest differences: row", "and 1 without a prediction", "same label        60.0 %",
                  "Where the right label is known (4 texts), B is right for 75.0 %, A for 50.0 %."):  # fmt: skip
        assert shown in result.stdout
    assert "nice" not in result.stdout


@pytest.mark.usefixtures("scorers")
def test_without_a_column_of_labels_nothing_is_said_about_accuracy(table: Path) -> None:
    found = report("old", "old", table)
    assert found["accuracy"] is found["a"]["accuracy"] is None
    assert found["agreement"]["value"] == 1
    assert found["largest"] == []
    shown = run("old", "old", table).stdout
    assert "accuracy" not in shown
    assert "largest" not in shown


@pytest.mark.usefixtures("scorers")
def test_a_limit_counts_rows(table: Path) -> None:
    found = report("old", "new", table, "--label-column", "right", "--limit", "3")
    assert (found["texts"], found["a"]["accuracy"]["whole"]) == (3, 3)
    assert report("old", "new", table, "--limit", "100")["texts"] == 5


@pytest.mark.usefixtures("scorers")
@pytest.mark.parametrize("name", ["in.tsv", "in.jsonl", "in.parquet", "in.txt"])
def test_all_formats_of_score_are_read(tmp_path: Path, name: str) -> None:
    texts = ["fine food", "nice room"]
    if name.endswith("parquet"):
        pq.write_table(pa.table({"body": texts, "n": [1, 2]}), tmp_path / name)
    elif name.endswith("jsonl"):
        (tmp_path / name).write_text("".join(json.dumps({"body": text, "n": 1}) + "\n" for text in texts))
        assert read_jsonl(tmp_path / name)
    else:
        head = "body\tn\n" if name.endswith("tsv") else ""
        (tmp_path / name).write_text(head + "".join(f"{text}\t1\n" for text in texts))
    column = [] if name.endswith("txt") else ["--column", "body"]
    assert report("old", "new", tmp_path / name, *column)["a"]["labels"] == {"bad": 1, "good": 1}


@pytest.mark.usefixtures("scorers")
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["old", "new"], "give either a FILE with texts, or --url"),
        (["old", "new", "FILE", "--url", "http://127.0.0.1:1"], "give either a FILE with texts, or --url"),
        (["old", "new", "FILE", "--label-column", "none"], "no column none; use --label-column"),
        (["old", "other", "FILE", "--label-column", "right"], "row 6: its label is none of bad, good, poor"),
        (["old", "new", "FILE", "--label-column", "text"], "row 1: its label is none of bad, good"),
    ],
)
def test_wrong_arguments_are_explained(table: Path, args: list[str], message: str) -> None:
    error = run(*(table if arg == "FILE" else arg for arg in args)).exception
    assert isinstance(error, Failure)
    assert message in str(error)
    assert error.status == WRONG_USAGE


@pytest.mark.usefixtures("scorers")
def test_files_that_cannot_be_compared_are_explained(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("text\n")
    assert "it has no rows" in str(run("old", "new", file).exception)
    file.write_text("text\n?\n")
    assert "no text that both models can read" in str(run("old", "new", file).exception)
    file.write_text("a,b\n1,2\n")
    assert isinstance(run("old", "new", file).exception, TableOptionError)


def test_the_models_take_turns_to_be_first() -> None:
    order: list[str] = []

    class Noting(FakeScorer):
        def score(self, texts: Any) -> Any:
            order.append(f"{self.description['model']} {len(texts)}")
            return super().score(texts)

    done: list[int] = []
    texts = [f"fine {number}" for number in range(600)]
    trial = try_both(Noting("a", "fine"), Noting("b"), texts, [None] * 600, done.append)
    assert order[:6] == ["a 256", "b 256", "b 256", "a 256", "a 88", "b 88"]
    assert done == [256, 512, 600]
    assert order[6:10] == ["a 1", "b 1", "b 1", "a 1"]
    assert order[6:].count("a 1") == order[6:].count("b 1") == 201  # every third text, and one that does not count
    assert trial.comparison.latency_a is not None
    assert (trial.errors, len(trial.rows)) == (0, 600)


def test_models_are_loaded_by_name_and_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,label\nI loved it.,positive\nI hated it.,negative\n")
    folder = ROOT / "models" / "sentiment-en"
    found = report("sentiment-en", folder, tmp_path / "in.csv", "--label-column", "label", "--backend", "onnx")
    assert found["agreement"]["value"] == found["b"]["accuracy"]["value"] == 1
    assert found["a"]["model"] == found["b"]["model"]
    assert found["words"].endswith("these texts do not show that either is better.")
    short = found["a"]["model"].replace("sha256:", "")[: -(64 - 12)]
    shown = run("sentiment-en", folder, tmp_path / "in.csv", "--backend", "onnx").stdout
    assert f"{short} " in shown
    assert "sha256" not in shown
