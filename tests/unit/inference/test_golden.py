"""Golden texts: how they are read, and how answers are compared with them."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.errors import ArtifactError, BackendError, CorruptArtifact
from app.inference import Artifact, GoldenResult, GoldenText, compare_golden, load_model, open_artifact, read_golden
from app.inference.artifact import sha256
from app.inference.files import GOLDEN, MANIFEST
from app.inference.golden import render_golden
from app.types import Prediction

GOOD, BAD = GoldenText("A good day.", "good", 0.8), GoldenText("Schön\n… nicht.", "bad", 0.9)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"id2label": {"0": "bad", "1": "good"}}')
    return tmp_path


def with_lines(model: Path, *lines: str) -> Artifact:
    (model / GOLDEN).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return open_artifact(str(model))


def line(**changes: Any) -> str:
    return json.dumps({"text": "A good day.", "label": "good", "score": 0.8} | changes)


def answer(label: str, score: float) -> Prediction:
    other = "bad" if label == "good" else "good"
    return Prediction(label, score, {label: score, other: 1 - score})


def test_a_model_without_golden_texts_has_none(model: Path) -> None:
    assert read_golden(open_artifact(str(model))) == ()


def test_what_is_written_is_what_is_read(model: Path) -> None:
    (model / GOLDEN).write_text(render_golden([GOOD, BAD]), encoding="utf-8")
    assert read_golden(open_artifact(str(model))) == (GOOD, BAD)


def test_a_file_that_the_manifest_does_not_list_is_not_read(model: Path) -> None:
    with_lines(model, "what somebody left there")
    files = {"config.json": {"sha256": sha256(model / "config.json")}}
    (model / MANIFEST).write_text(json.dumps({"files": files}))
    assert read_golden(open_artifact(str(model))) == ()


def test_a_file_that_differs_from_the_manifest_is_refused(model: Path) -> None:
    with_lines(model, line())
    files = {name: {"sha256": sha256(model / name)} for name in ("config.json", GOLDEN)}
    (model / MANIFEST).write_text(json.dumps({"files": files}))
    assert read_golden(open_artifact(str(model))) == (GOOD,)
    with pytest.raises(CorruptArtifact, match=r"golden\.jsonl: checksum differs"):
        read_golden(with_lines(model, line(score=0.1)))
    (model / GOLDEN).unlink()
    with pytest.raises(ArtifactError, match=r"golden\.jsonl: listed in manifest\.json but missing"):
        read_golden(open_artifact(str(model)))


@pytest.mark.parametrize(
    ("second", "complaint"),
    [
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not a JSON object with text, label and score"),
        (line(text=None), "text must be a text with a visible character"),
        (line(text=" \u200b "), "text must be a text with a visible character"),
        (line(label="joy"), "label must be one of the model, which has bad, good"),
        (line(label=["good"]), "label must be one of the model, which has bad, good"),
        (line(score="0.8"), "score must be a number from 0 to 1"),
        (line(score=True), "score must be a number from 0 to 1"),
        (line(score=1.01), "score must be a number from 0 to 1"),
        (line(score=float("nan")), "score must be a number from 0 to 1"),
    ],
    ids=lambda value: value[:30],
)
def test_a_line_that_cannot_be_used_is_named(model: Path, second: str, complaint: str) -> None:
    with pytest.raises(ArtifactError, match=rf"golden\.jsonl, line 2: {complaint}$"):
        read_golden(with_lines(model, line(), second, line()))


def test_a_file_that_is_not_utf_8_is_refused(model: Path) -> None:
    (model / GOLDEN).write_bytes(b'{"text": "\xff"}\n')
    with pytest.raises(ArtifactError, match=r"golden\.jsonl: not valid UTF-8"):
        read_golden(open_artifact(str(model)))


def test_a_file_has_at_most_1024_lines_and_a_mebibyte(model: Path) -> None:
    assert len(read_golden(with_lines(model, *[line()] * 1024))) == 1024
    with pytest.raises(ArtifactError, match=r"has more than 1,024 lines; write fewer texts"):
        read_golden(with_lines(model, *[line()] * 1025))
    longest = 2**20 - len(line(text="")) - 1
    assert len(read_golden(with_lines(model, line(text="a" * longest)))) == 1
    with pytest.raises(ArtifactError, match=r"has more than 1 MiB; write fewer or shorter texts"):
        read_golden(with_lines(model, line(text="a" * (longest + 1))))


def test_a_text_agrees_by_its_label_and_by_its_score() -> None:
    expected = [GOOD] * 4
    answers = [answer("good", 0.8), answer("good", 0.7), answer("good", 0.6999), answer("bad", 0.6)]
    result = compare_golden(expected, answers)
    assert result == GoldenResult(texts=4, agreeing=2, largest_difference=0.4)
    assert result.agreement == 0.5


def test_the_tolerance_is_between_the_score_of_the_same_label() -> None:
    nearly_tied = GoldenText("A day.", "good", 0.51)
    assert compare_golden([nearly_tied], [answer("bad", 0.52)]) == GoldenResult(1, 0, 0.03)
    assert compare_golden([nearly_tied], [answer("good", 0.54)], tolerance=0.02) == GoldenResult(1, 0, 0.03)
    assert compare_golden([nearly_tied], [answer("good", 0.54)], tolerance=0.03) == GoldenResult(1, 1, 0.03)


def test_a_text_that_failed_does_not_agree() -> None:
    result = compare_golden([GOOD, GOOD], [BackendError("the model failed"), answer("good", 0.8)])
    assert result == GoldenResult(texts=2, agreeing=1, largest_difference=1.0)


def test_no_text_at_all_agrees() -> None:
    assert compare_golden([], []).agreement == 1.0


def test_each_text_needs_an_answer() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compare_golden([GOOD, GOOD], [answer("good", 0.8)])


def test_the_embedded_model_gives_the_answers_that_it_was_published_with() -> None:
    texts = read_golden(open_artifact("sentiment-en"))
    assert len(texts) == 48
    assert {label: [each.label for each in texts].count(label) for label in ("negative", "neutral", "positive")} == {
        "negative": 16, "neutral": 16, "positive": 16,
    }  # fmt: skip
    model, whole = (load_model("sentiment-en", backend="onnx", device="cpu", depth=depth) for depth in ("auto", "full"))
    lengths = [len(encoding) for encoding in model.tokenizer.encode_many([each.text for each in texts])]
    assert min(lengths) < 8
    assert 256 < max(lengths) <= 512
    result = compare_golden(texts, model.predict([each.text for each in texts]))
    assert result.agreement == 1.0
    assert result.largest_difference <= 0.02
    assert compare_golden(texts, whole.predict([each.text for each in texts])).agreement == 1.0
