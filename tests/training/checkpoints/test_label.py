"""A teacher's scores on texts, as a file to train on."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.inference.artifact import open_artifact
from app.inference.backends.torch import TorchBackend
from app.inference.runner import Runner
from app.inference.tokenizer import Tokenizer
from tests.support.tiny import tiny_classifier
from training.checkpoints import label as module
from training.checkpoints.label import label_texts
from training.data import LABELS, Example, read

LONG = " ".join(f"The film is great, part {number} of it." for number in range(40))
EXAMPLES = [
    Example("The food is awful.", "negative", "food"),
    Example("it 's great , really .", "positive", "films"),
    Example(LONG, "positive", "films"),
    Example("The food is awful.", "negative", "again"),
]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_classifier(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def rows(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("soft") / "soft.jsonl"
    label_texts(teacher, out, EXAMPLES)
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_each_text_comes_once_and_also_in_ordinary_spelling(rows: list[dict[str, Any]]) -> None:
    whole = [(row["text"], row["label"], row["source"]) for row in rows if not row["source"].endswith("_passages")]
    assert whole == [
        ("The food is awful.", "negative", "food"),
        ("it 's great , really .", "positive", "films"),
        ("it's great, really.", "positive", "films"),
        (LONG, "positive", "films"),
    ]
    assert rows[1]["scores"] == rows[2]["scores"]


def test_the_scores_are_those_of_the_teacher(rows: list[dict[str, Any]], teacher: Path) -> None:
    artifact = open_artifact(str(teacher))
    runner = Runner(TorchBackend(artifact, device="cpu", precision="fp32"), artifact.labels, artifact.pad_id)
    tokenizer = Tokenizer.load(teacher, 512)
    (expected,) = runner.run([tokenizer.encode("it's great, really.")])
    assert list(rows[2]["scores"]) == list(LABELS)
    assert rows[2]["scores"] == pytest.approx(expected.scores, abs=0.02)  # bf16, and rounded to four digits


def test_the_temperature_of_the_teacher_applies(rows: list[dict[str, Any]], teacher: Path, tmp_path: Path) -> None:
    calibrated = tmp_path / "calibrated"
    shutil.copytree(teacher, calibrated)
    config = json.loads((calibrated / "config.json").read_text()) | {"calibration_temperature": 0.1}
    (calibrated / "config.json").write_text(json.dumps(config))
    label_texts(calibrated, tmp_path / "soft.jsonl", EXAMPLES[:1])
    sharper = list(json.loads((tmp_path / "soft.jsonl").read_text())["scores"].values())
    powers = np.array([*rows[0]["scores"].values()]) ** 10
    assert sharper == pytest.approx((powers / powers.sum()).tolist(), abs=0.002)  # rounded to four digits
    assert max(sharper) > max(rows[0]["scores"].values()) + 0.01


def test_a_long_text_also_comes_as_unlabelled_passages(rows: list[dict[str, Any]], teacher: Path) -> None:
    parts = [row for row in rows if row["source"] == "films_passages"]
    assert " ".join(row["text"] for row in parts) == LONG
    assert {row["label"] for row in parts} == {None}
    tokenizer = Tokenizer.load(teacher, 512)
    tokens = [len(tokenizer.encode(row["text"])) for row in parts]
    average = np.average([list(row["scores"].values()) for row in parts], axis=0, weights=tokens)
    whole = next(row for row in rows if row["text"] == LONG)
    assert list(whole["scores"].values()) == pytest.approx(average.tolist(), abs=2e-4)


def test_the_file_can_be_trained_on(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    file = tmp_path / "soft.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [example.scores for example in read(file)] == [row["scores"] for row in rows]


def test_an_interrupted_run_resumes(
    teacher: Path, rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 1)
    written = module._write

    def stop_after_the_second(*args: Any) -> None:
        written(*args)
        if "films" in args[1][0].source:
            raise KeyboardInterrupt

    out = tmp_path / "soft.jsonl"
    monkeypatch.setattr(module, "_write", stop_after_the_second)
    with pytest.raises(KeyboardInterrupt):
        label_texts(teacher, out, EXAMPLES)
    assert not out.exists()  # or an incomplete file would look complete
    monkeypatch.setattr(module, "_write", written)
    label_texts(teacher, out, EXAMPLES)
    texts = [json.loads(line)["text"] for line in out.read_text().splitlines()]
    whole = [text for text in texts if text in {row["text"] for row in rows if row["label"]}]
    assert whole == ["The food is awful.", "it 's great , really .", "it's great, really.", LONG]
    assert [file.name for file in tmp_path.iterdir()] == ["soft.jsonl"]


def test_a_finished_file_is_not_overwritten(teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "soft.jsonl"
    label_texts(teacher, out, EXAMPLES)
    before = out.read_bytes()
    with pytest.raises(ValueError, match=r"soft\.jsonl already exists"):
        label_texts(teacher, out, EXAMPLES)
    assert out.read_bytes() == before


def test_a_bookmark_without_its_file_is_ignored(teacher: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "soft.jsonl"
    (tmp_path / "soft.jsonl.bookmark").write_text('{"of": "others", "texts": 1, "bytes": 100}')
    label_texts(teacher, out, EXAMPLES)
    assert [json.loads(line) for line in out.read_text().splitlines()] == rows


def test_a_run_with_other_texts_does_not_resume(teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "soft.jsonl"
    (tmp_path / "soft.jsonl.part").write_text("")
    (tmp_path / "soft.jsonl.bookmark").write_text('{"of": "others", "texts": 0, "bytes": 0}')
    with pytest.raises(ValueError, match="other texts or another teacher"):
        label_texts(teacher, out, EXAMPLES)


def test_the_same_input_gives_the_same_file(teacher: Path, tmp_path: Path) -> None:
    for name in ("one.jsonl", "two.jsonl"):
        label_texts(teacher, tmp_path / name, EXAMPLES)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_no_texts_give_an_empty_file(teacher: Path, tmp_path: Path) -> None:
    label_texts(teacher, tmp_path / "soft.jsonl", [])
    assert (tmp_path / "soft.jsonl").read_bytes() == b""
