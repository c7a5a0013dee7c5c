"""Golden texts and development distributions: which texts are chosen, and how an artifact gets them."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from app.inference import Model, load_model, open_artifact, read_development, read_golden
from app.inference.artifact import sha256
from app.inference.files import GOLDEN, MANIFEST
from app.inference.golden import compare_golden
from app.types import Prediction
from onnx_export import golden as command
from onnx_export.golden import choose, hold_out, rewrite
from onnx_export.manifest import write_manifest
from tests.support.checkpoints import BERT, save_tokenizer
from tests.support.graphs import graph
from training import files
from training.errors import InputError

# With the mock, two words of a kind are clear; one is not.
POSITIVE = [f"good great {number}" for number in range(40)]
NEGATIVE = [f"bad awful {number}" for number in range(40)]
NEUTRAL = [f"here it is {number}" for number in range(5)]
TIED = [f"good bad sad love {number}" for number in range(60)]  # positive and negative have the same score
# Random weights call "not" bad, and nothing else.
TEXTS = [
    "a good film!",
    "not not not",
    "the film is bad.",
    "not not not film",
    "bad bad bad",
    "not film " * 15 + "film",
]


@pytest.fixture(scope="module")
def mock() -> Model:
    return load_model(backend="mock")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """An artifact with the labels bad and good: a graph of random weights that reads 40 tokens."""
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text(
        '{"id2label": {"0": "bad", "1": "good"}, "max_position_embeddings": 40, "calibration_temperature": 2.0}'
    )
    save_tokenizer(directory, BERT)
    graph(directory / "model_int8.onnx", positions=40)
    write_manifest(directory, "7", {"parity": {}}, {}, {"source": "mine"})
    return directory


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "dev.csv"
    file.write_text("text,label\n" + "".join(f"{text},good\n" for text in TEXTS))
    return file


def labels_of(model: Model, texts: list[str]) -> Counter[str]:
    return Counter(each.label for each in choose(model, texts))


def test_texts_that_all_layers_answer_in_another_way_come_last(mock: Model) -> None:
    doubted = POSITIVE[:30]

    def predict(texts: list[str], batch_size: int) -> list[Prediction]:
        early = mock.predict(texts, batch_size=batch_size)
        return [
            replace(each, confidence=each.confidence - 0.1) if text in doubted else each
            for text, each in zip(texts, early, strict=True)
        ]

    chosen = {each.text for each in choose(mock, [*POSITIVE, *NEGATIVE], Mock(predict=predict))}
    assert chosen.isdisjoint(doubted)
    assert chosen > set(POSITIVE[30:])
    assert not {each.text for each in choose(mock, [*POSITIVE, *NEGATIVE])}.isdisjoint(doubted)


def test_labels_are_spread_as_evenly_as_the_texts_allow(mock: Model) -> None:
    assert labels_of(mock, [*POSITIVE, *NEGATIVE, *NEUTRAL]).total() == 48
    # Joined texts of each length have labels in turn.
    counts = labels_of(mock, [*POSITIVE * 5, *NEGATIVE])
    assert counts.keys() == {"positive", "negative"}
    assert abs(counts["positive"] - counts["negative"]) <= 1


def test_the_choice_is_the_same_each_time(mock: Model) -> None:
    texts = [*POSITIVE, *NEGATIVE, *NEUTRAL, *TIED]
    assert choose(mock, texts) == choose(mock, texts[::-1]) == choose(mock, [*texts, *texts])


def test_texts_without_a_clear_label_are_chosen_last(mock: Model) -> None:
    chosen = choose(mock, [*TIED, *POSITIVE[:10], *NEGATIVE[:10]])
    assert len(chosen) == 48
    assert {*POSITIVE[:10], *NEGATIVE[:10]} <= {each.text for each in chosen}
    assert not {each.text for each in choose(mock, [*TIED, *POSITIVE, *NEGATIVE])} & {*TIED}


def test_there_are_texts_of_each_length_that_the_model_reads(mock: Model) -> None:
    long = " ".join(["wonderful fantastic"] * 45)  # 90 tokens
    chosen = choose(mock, [*POSITIVE, *NEGATIVE, *NEUTRAL, long])
    assert long in {each.text for each in chosen}
    lengths = [len(encoding) for encoding in mock.tokenizer.encode_many([each.text for each in chosen])]
    for shortest, above in ((1, 8), (8, 16), (16, 32), (32, 64), (64, 128), (128, 256)):
        assert sum(shortest <= length < above for length in lengths) >= 2, shortest
    assert lengths == sorted(lengths)


def test_texts_that_are_too_long_are_cut_between_words(mock: Model) -> None:
    chosen = choose(mock, [f"good {'great ' * 5000}end"])
    longest = max((each.text for each in chosen), key=len)
    assert 400 < len(longest.split()) <= 512
    assert len(longest) <= 3000
    assert {*longest.split()} == {"good", "great"}


def test_a_word_without_an_end_is_cut_inside(mock: Model) -> None:
    (chosen,) = choose(mock, ["a" * 10_000])
    assert chosen.text == "a" * 3000


def test_texts_that_cannot_be_written_or_seen_are_left_out(mock: Model) -> None:
    chosen = choose(mock, ["good\ud800 day", "\u200b", "  ", "good day", "good day"])
    assert [each.text for each in chosen] == ["good day"]


def test_the_score_is_that_of_the_precision_that_is_served(artifact: Path) -> None:
    texts, development = hold_out(artifact, TEXTS)
    model = load_model(str(artifact), backend="onnx", device="cpu")
    by_text = {each.text: each for each in texts}
    for prediction, text in zip(model.predict(TEXTS, batch_size=1), TEXTS, strict=True):
        assert by_text[text].label == prediction.label
        assert by_text[text].score == round(prediction.confidence, 4)  # after the temperature
    assert development.texts == len(TEXTS)
    expected = Counter(prediction.label for prediction in model.predict(TEXTS))
    assert development.labels == pytest.approx({label: expected[label] / 6 for label in ("bad", "good")}, abs=1e-6)
    # All but the last have fewer than eight tokens, with the first and the last one.
    assert development.tokens.shares == pytest.approx((5 / 6, 0, 0, 1 / 6, 0, 0, 0), abs=1e-6)
    longest = max(model.tokenizer.encode_many([each.text for each in texts]), key=len)
    assert 32 <= len(longest) <= 40


def test_too_few_texts_are_mentioned(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts, _ = hold_out(artifact, ["a good film"])
    assert texts[0].text == "a good film"
    assert capsys.readouterr().err == f"only {len(texts)} golden texts, for lack of held-out texts; 32 are better\n"


def test_texts_without_a_visible_character_are_not_enough(artifact: Path) -> None:
    with pytest.raises(InputError, match="no held-out text has a visible character"):
        hold_out(artifact, ["\u200b"])
    with pytest.raises(InputError, match="no text for golden texts has a visible character"):
        hold_out(artifact, TEXTS, ["\u200b"])


def test_an_artifact_gets_both_and_keeps_its_weights(
    artifact: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, before = sha256(artifact / "model_int8.onnx"), json.loads((artifact / MANIFEST).read_text())
    command.main([str(artifact), "--dev", str(source)])
    opened = open_artifact(str(artifact))
    opened.verify_companions()
    texts, development = read_golden(opened), read_development(opened)
    assert development is not None
    shown = capsys.readouterr()
    counts = Counter(each.label for each in texts)
    assert shown.out == (
        f"{artifact}/golden.jsonl: {len(texts)} texts, {counts['bad']} bad, {counts['good']} good\n"
        f"{artifact}/manifest.json: the distributions of 6 texts\n"
    )
    assert "golden texts, for lack of held-out texts" in shown.err
    assert {*TEXTS} <= {each.text for each in texts}
    assert sha256(artifact / "model_int8.onnx") == weights
    assert opened.version == "7"
    after = json.loads((artifact / MANIFEST).read_text())
    assert after["files"].pop(GOLDEN) == {
        "sha256": sha256(artifact / GOLDEN),
        "bytes": (artifact / GOLDEN).stat().st_size,
    }
    assert after | {"development": {}} == before
    predictions = load_model(str(artifact), backend="onnx", device="cpu").predict([each.text for each in texts])
    assert compare_golden(texts, predictions, tolerance=0.001).agreement == 1.0


def test_the_same_command_again_writes_the_same(artifact: Path, source: Path) -> None:
    command.main([str(artifact), "--dev", str(source)])
    first = {file.name: file.read_bytes() for file in artifact.iterdir()}
    command.main([str(artifact), "--dev", str(source)])
    assert {file.name: file.read_bytes() for file in artifact.iterdir()} == first


def test_golden_texts_can_come_from_another_file(artifact: Path, source: Path, tmp_path: Path) -> None:
    (tmp_path / "own.txt.csv").write_text("text\nthe good film\n")
    command.main([str(artifact), "--dev", str(source), "--golden", str(tmp_path / "own.txt.csv"), "--version", "8"])
    opened = open_artifact(str(artifact))
    assert opened.version == "8"
    assert "the good film" in {each.text for each in read_golden(opened)}
    assert not {each.text for each in read_golden(opened)} & {*TEXTS}
    development = read_development(opened)
    assert development is not None
    assert development.texts == len(TEXTS)


def test_golden_texts_can_be_sentences_of_the_project(artifact: Path, source: Path) -> None:
    command.main([str(artifact), "--dev", str(source), "--golden", "suite"])
    texts = {each.text for each in read_golden(open_artifact(str(artifact)))}
    assert len(texts) == 48
    assert not texts & {*TEXTS}


def test_without_any_text_both_are_those_of_the_project(artifact: Path) -> None:
    command.main([str(artifact)])
    opened = open_artifact(str(artifact))
    development = read_development(opened)
    assert development is not None
    assert development.texts > 400
    assert len(read_golden(opened)) == 48


def test_a_crash_at_any_moment_leaves_an_artifact_that_loads(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(artifact, TEXTS[:3])
    replace = files.replace
    for steps in range(3):
        copy = Path(shutil.copytree(artifact, tmp_path / f"copy-{steps}"))
        left = iter(range(steps))

        def replace_or_crash(file: Path, text: str) -> None:
            if next(left, None) is None:  # noqa: B023
                raise OSError("the disk is full")
            replace(file, text)

        monkeypatch.setattr(command, "replace", replace_or_crash)
        with pytest.raises(OSError, match="full"):
            rewrite(copy, TEXTS)
        opened = open_artifact(str(copy))
        opened.verify_companions()
        assert len(read_golden(opened)) == (0 if steps else len(read_golden(open_artifact(str(artifact)))))
        monkeypatch.setattr(command, "replace", replace)
        assert rewrite(copy, TEXTS)[1].texts == len(TEXTS)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "no such model: nowhere"),
        (["plain"], "plain has no manifest.json; export it first, with python -m onnx_export"),
        (["model", "--dev", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], complaint: str
) -> None:
    shutil.copytree(artifact, tmp_path / "plain")
    (tmp_path / "plain" / MANIFEST).unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"^nothing was written: .*{complaint}"):
        command.main(arguments)
    assert not (artifact / GOLDEN).exists()
    assert not (tmp_path / "plain" / GOLDEN).exists()
