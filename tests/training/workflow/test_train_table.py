"""One call from a table to a model that can be served, with what it says on the way."""

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from app.inference import load_model, open_artifact, read_development, read_golden
from tests.support.tiny import ROWS, tiny_classifier
from training.errors import InputError
from training.workflow import Trained, train_table

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SETTINGS: dict[str, Any] = {"epochs": 20, "learning_rate": 1e-3, "batch_size": 8, "evaluations": 4}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_classifier(tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "reviews.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("id", "review", "stars"))
        stars = {"positive": "5", "neutral": "3", "negative": "1.0"}
        rows = [(f"{row.text} {ending}", stars[str(row.label)]) for row in ROWS for ending in ("Really.", "I think.")]
        writer.writerows((number, *row) for number, row in enumerate(rows))
        writer.writerow((99, "The film is lovely. Really so.", "1"))  # a wrong label
    return file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def trained(start: Path, table: Path, folder: Path) -> Trained:
    return train(start, table, folder)


def train(base: Path, table: Path, folder: Path, **options: Any) -> Trained:
    columns = {"text_column": "review", "label_column": "stars", "name": "stars"}
    places = {"runs": folder / "runs", "models": folder / "models"}
    return train_table(table, **({"start": base} | columns | places | SETTINGS | options))


def test_the_model_has_the_labels_as_written_and_can_be_served(trained: Trained, folder: Path) -> None:
    assert trained.model == folder / "models" / "stars"
    assert open_artifact(str(trained.model)).labels == ("1", "3", "5")
    assert trained.macro_f1 > 0.7
    assert trained.serve_command.endswith(f"rt-sentiment serve --model {trained.model}")
    (prediction,) = load_model(str(trained.model), backend="onnx").predict(["The room is superb."])
    assert prediction.label == "5"


def test_exits_are_added_on_request(
    start: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # After one of two layers, scores are further from those of the whole model than is usual.
    monkeypatch.setattr("training.exits.check._GOLDEN_AGREEMENT", 0.8)
    endings = ("Really.", "I think.", "So it is.", "You know.", "At last.", "To me.", "As ever.", "By far.")
    table = tmp_path / "many.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("review", "stars"))
        writer.writerows((f"{row.text} {ending}", row.label) for row in ROWS for ending in endings)
    trained = train(start, table, folder, name="many", exits=True)
    said = capsys.readouterr().out
    assert "Figures of the checkpoint after epoch" in said
    assert "Heads after 1 of 2 layers learn from" in said
    assert re.search(r"many: \d+ % after 1\b", said)
    model = load_model(str(trained.model), backend="onnx", slots=1)
    assert (model.info.layers, model.info.exits) == (2, (1,))
    assert json.loads((trained.run / "report.json").read_text())["recipe"]["early_layers"] == [1]
    assert {each.layers for each in model.predict([row.text for row in ROWS])} >= {1}


def test_a_table_with_too_few_rows_gets_no_exits(
    start: Path, table: Path, folder: Path, trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    again = train(start, table, folder, exits=True)
    assert "Exits\n  none: heads need at least 200 texts to learn from, and there are 5" in capsys.readouterr().out
    assert open_artifact(str(again.model)).exits is None
    assert again.model == trained.model


def test_the_run_has_the_report_the_predictions_and_the_mistakes(trained: Trained) -> None:
    report = json.loads((trained.run / "report.json").read_text())
    assert report["data_report"]["labels"] == {"1": 25, "3": 24, "5": 24}
    assert report["calibration"]["temperature"] == open_artifact(str(trained.checkpoint)).temperature
    assert report["dev"]["reviews"]["classes"].keys() == {"1", "3", "5"}
    with (trained.run / "predictions.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == report["measured_on"]["sets"]["reviews"]
    wrong = [row for row in rows if row["label"] != row["predicted"]]
    with (trained.run / "mistakes.csv").open(encoding="utf-8-sig", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(wrong)
    assert "<h1>Worst mistakes of stars, mean of 3 trainings" in (trained.run / "mistakes.html").read_text()
    assert "<h1>Confusion matrix of stars, mean of 3 trainings" in (trained.run / "confusion.html").read_text()


def test_golden_texts_are_those_that_were_not_trained_on(trained: Trained) -> None:
    artifact = open_artifact(str(trained.model))
    texts, development = read_golden(artifact), read_development(artifact)
    with (trained.run / "predictions.csv").open(encoding="utf-8-sig", newline="") as file:
        held_out = {row["text"] for row in csv.DictReader(file)}
    # All of them, because they are few, and longer texts that are made of them.
    assert {each.text for each in texts if each.text.count("Really.") + each.text.count("I think.") == 1} == held_out
    assert development is not None
    assert development.texts == len(held_out)
    assert [*development.labels] == ["1", "3", "5"]


def test_the_same_call_again_repeats_only_what_follows_the_training(
    start: Path, table: Path, folder: Path, trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = (trained.checkpoint / "model.safetensors").stat().st_mtime_ns
    again = train(start, table, folder, export=False)
    assert (trained.checkpoint / "model.safetensors").stat().st_mtime_ns == weights
    assert again.evaluation.reports == trained.evaluation.reports
    assert again.model is None
    assert again.serve_command.endswith(f"rt-sentiment serve --model {trained.checkpoint}")
    shown = capsys.readouterr().out
    for part in (
        "73 rows read, 73 used",
        "start: " + str(start) + " (as given)",
        "class  rows  precision  recall",
        "Figures of the mean of 3 trainings on the rows to measure on",
        "Calibration\n  The model",
        f"To serve it:\n  {again.serve_command}",
    ):
        assert part in shown
    with pytest.raises(InputError, match=r"holds a run with other settings: recipe\.epochs is 20 there, and 13 here"):
        train(start, table, folder, export=False, epochs=13)


def test_the_report_has_the_figures_that_are_served(trained: Trained) -> None:
    report = json.loads((trained.run / "report.json").read_text())
    (figures,) = report["dev"].values()
    (served,) = trained.evaluation.reports.values()
    assert (figures["ece"], figures["loss"]) == (
        pytest.approx(served.ece, abs=1e-4),
        pytest.approx(served.nll, abs=1e-4),
    )
    assert trained.calibration
    assert report["calibration"]["calibration_error"] == trained.calibration.change["calibration_error"]
    assert report["calibration"]["calibration_error"][1] == pytest.approx(served.ece, abs=1e-3)
    found = report["data_report"]["division"]
    assert (found["to_train_on"] + found["to_measure_on"], found["to_measure_on"]) == (73, served.rows)
    assert (found["unmeasured"], found["alike"]) == ([], {})


def test_a_label_without_a_row_to_measure_on_is_named(
    start: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dev = tmp_path / "dev.csv"
    endings = ("", " now", " to me", " today")
    rows = "".join(f"The film is superb and so very very good{ending}.,5\n" for ending in endings)
    dev.write_text(f"review,stars\n{rows}The food is dreadful dreadful.,1\n")
    result = train(start, table, tmp_path, dev=dev, export=False, epochs=1, evaluations=1, trainings=1)
    said = capsys.readouterr().out
    assert "! figures on 5 rows say little" in said
    assert "! no row to measure on, so no figures: 3" in said
    assert "! all 4 rows of 5 to measure on contain the same text" in said
    found = json.loads((result.run / "report.json").read_text())["data_report"]["division"]
    assert (found["unmeasured"], found["alike"]) == (["3"], {"5": 4})


def test_rows_to_measure_on_can_be_given(start: Path, table: Path, tmp_path: Path) -> None:
    dev = tmp_path / "dev.csv"
    dev.write_text(
        "review,stars\nThe film is superb superb.,5\nThe food is dreadful dreadful.,1\nThe film is great. Really.,5\n"
    )
    result = train(start, table, tmp_path, dev=dev, export=False, epochs=1, evaluations=1)
    report = json.loads((result.run / "report.json").read_text())
    assert report["measured_on"]["sets"] == {"dev": 3}
    assert report["data"]["sets"] == {"reviews": 72}  # one text is in both


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"name": "../stars"}, "cannot be the name of a model"),
        ({"name": "sentiment-en"}, "comes with rt-sentiment; choose another --name"),
        ({"preset": "best"}, "unknown preset best"),
        ({"start": "nowhere/at/all"}, "nowhere/at/all"),
        ({"text_column": "text"}, "no column text; the columns are id, review, stars"),
        ({"label_map": "1:bad"}, r"the mapping does not say what happens to 5 \(24 rows\), 3"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_written(
    start: Path, table: Path, tmp_path: Path, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        train(start, table, tmp_path, **options)
    assert not [*tmp_path.iterdir()]


def test_a_folder_with_other_files_is_not_replaced(start: Path, table: Path, tmp_path: Path) -> None:
    (tmp_path / "models" / "stars").mkdir(parents=True)
    (tmp_path / "models" / "stars" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is not a model that could be replaced"):
        train(start, table, tmp_path)


def test_the_name_is_that_of_the_file(start: Path, table: Path, tmp_path: Path) -> None:
    result = train(start, table, tmp_path, name=None, epochs=1, evaluations=1, export=False)
    assert result.run == tmp_path / "runs" / "reviews"


def test_one_label_is_refused_before_the_encoder_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["training.workflow.train_table"]  # the package has a function of this name
    monkeypatch.setattr(module, "start_directory", lambda _: pytest.fail("fetched"))
    (tmp_path / "one.csv").write_text("text,label\n" + "".join(f"row {n} of many,late\n" for n in range(20)))
    with pytest.raises(InputError, match="at least two labels; all rows have late"):
        train_table(tmp_path / "one.csv", start="encoder", runs=tmp_path / "runs", models=tmp_path / "models")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("on_path", "inside", "expected"), [(True, True, ""), (False, True, "bin/"), (False, False, None)]
)
def test_the_command_to_serve_works_where_it_is_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, on_path: bool, inside: bool, expected: str | None
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rt-sentiment").touch(mode=0o755)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin") if on_path else "")
    monkeypatch.chdir(tmp_path if inside else tmp_path / "elsewhere")
    prefix = f"{tmp_path}/bin/" if expected is None else expected
    trained = Trained(Path("runs/a b"), None, None, None)  # type: ignore[arg-type]
    assert trained.serve_command == f"{prefix}rt-sentiment serve --model 'runs/a b/checkpoint'"
