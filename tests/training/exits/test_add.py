"""`python -m training exits` gives an artifact exits, and changes nothing if they would change its answers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.inference.artifact import open_artifact
from app.inference.files import SIGNATURE
from app.inference.model import load_model
from onnx_export.verify import Sample
from tests.support.artifacts import copy_without_exits
from training.__main__ import main
from training.data import write_sentences
from training.data.templates import Sentence
from training.errors import InputError
from training.exits import add_exits
from training.exits.add import Settings
from training.exits.thresholds import Limits

SETTINGS = Settings(after=(4,), units=64, epochs=40)
LIMITS = Limits(other_labels=0, lost_points=0)


def note(_: str) -> None:
    """Print nothing."""


@pytest.fixture(scope="module")
def sentences() -> list[Sentence]:
    return write_sentences(900, seed=3)


@pytest.fixture(scope="module")
def texts(sentences: list[Sentence]) -> list[str]:
    return [each.text for each in sentences[:700]]


@pytest.fixture(scope="module")
def samples(sentences: list[Sentence]) -> list[Sample]:
    labelled = [(each.text, each.label) for each in sentences[700:] if each.label]
    return [Sample("dev", [text for text, _ in labelled], [label for _, label in labelled])]


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return copy_without_exits(tmp_path / "mine")


def test_an_artifact_gets_exits(artifact: Path, texts: list[str], samples: list[Sample]) -> None:
    before = load_model(str(artifact), slots=1).predict(samples[0].texts)
    notes: list[str] = []
    outcome = add_exits(artifact, texts, samples, settings=SETTINGS, limits=LIMITS, version="2", on_note=notes.append)[
        "dev"
    ]
    assert notes == [f"The whole model answers {len(texts):,} texts", notes[1]]
    model = load_model(str(artifact), slots=2)
    assert (model.info.layers, model.info.exits, model.info.model_version) == (6, (4,), "2")

    predictions = model.predict(samples[0].texts)
    early = [each.layers == 4 for each in predictions]
    assert {each.layers for each in predictions} == {4, 6}
    assert outcome.shares[4] == round(100 * float(np.mean(early)), 2)
    right = [each.label == label for each, label in zip(before, samples[0].labels or [], strict=True)]
    assert outcome.whole_accuracy == round(100 * float(np.mean(right)), 2)
    # Those that stay get what the whole model says.
    for with_exits, without in zip(predictions, before, strict=True):
        if with_exits.layers == 6:
            assert with_exits.scores == pytest.approx(without.scores, abs=1e-3)
    alone = model.predict(samples[0].texts, batch_size=1)
    assert [each.layers for each in alone] == [each.layers for each in predictions]

    full = load_model(str(artifact), slots=1, depth="full")
    assert full.info.exits == ()
    assert full.predict(samples[0].texts) == before
    manifest = json.loads((artifact / "manifest.json").read_text())
    assert manifest["metrics"]["exits"]["dev"]["cost"] == outcome.cost
    open_artifact(str(artifact)).verify_companions()


def test_exits_are_replaced_by_other_ones(artifact: Path, texts: list[str], samples: list[Sample]) -> None:
    (artifact / "model_int8.part3.onnx").write_bytes(b"of an earlier model with two exits")
    for after in (5, 4):
        add_exits(artifact, texts, samples, settings=replace(SETTINGS, after=(after,)), limits=LIMITS, on_note=note)
        assert load_model(str(artifact), slots=1).info.exits == (after,)
    assert sorted(file.name for file in artifact.glob("*.part*")) == ["model_int8.part1.onnx", "model_int8.part2.onnx"]


def test_exits_that_change_the_golden_texts_are_refused(
    artifact: Path, texts: list[str], samples: list[Sample]
) -> None:
    settings, limits = Settings(after=(1,), units=4, epochs=1), Limits(other_labels=100, lost_points=100)
    with pytest.raises(InputError, match=r"only \d+ of 48 golden texts keep their answer; nothing was changed"):
        add_exits(artifact, texts, samples, settings=settings, limits=limits, on_note=note)
    assert open_artifact(str(artifact)).exits is None


def test_nothing_changes_if_no_exit_keeps_to_the_limits(
    artifact: Path, texts: list[str], samples: list[Sample]
) -> None:
    before = {file.name: file.read_bytes() for file in artifact.iterdir()}
    with pytest.raises(InputError, match="no exit keeps to the limits"):
        add_exits(artifact, texts, samples, settings=SETTINGS, limits=Limits(-1), on_note=note)
    assert {file.name: file.read_bytes() for file in artifact.iterdir()} == before


def test_too_few_texts_are_refused(artifact: Path, samples: list[Sample]) -> None:
    with pytest.raises(InputError, match="at least 200 texts to learn from, and there are 1"):
        add_exits(artifact, ["good", "good", " "], samples)


@pytest.mark.parametrize("layer", [6, 9])
def test_an_exit_after_the_last_layer_is_refused(
    layer: int, artifact: Path, texts: list[str], samples: list[Sample]
) -> None:
    with pytest.raises(InputError, match=f"no exit after layer {layer}: the model has 6 layers"):
        add_exits(artifact, texts, samples, settings=replace(SETTINGS, after=(layer,)), on_note=note)


def test_a_signature_does_not_stay(artifact: Path, texts: list[str], samples: list[Sample]) -> None:
    (artifact / SIGNATURE).write_text("of the old manifest")
    notes: list[str] = []
    add_exits(artifact, texts, samples, settings=SETTINGS, limits=LIMITS, on_note=notes.append)
    assert not (artifact / SIGNATURE).exists()
    assert "sign the artifact again" in notes[0]


def test_what_is_no_artifact_is_refused(artifact: Path, texts: list[str], samples: list[Sample]) -> None:
    (artifact / "manifest.json").unlink()
    with pytest.raises(InputError, match="export it first"):
        add_exits(artifact, texts, samples)


class TestCommand:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--after", "3,x"], "argument --after: takes numbers of layers"),
            (["--after", "0"], "counts layers from 1"),
            (["--max-lost-points", "a"], "takes a number, or SET=number"),
            (["--max-lost-points", "0.1", "other=1"], "no set is called other; the sets are dev"),
        ],
    )
    def test_wrong_options_end_it_with_status_2(
        self, artifact: Path, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "dev.csv").write_text("text,label\ngood,positive\nbad,negative\n")
        dev = str(tmp_path / "dev.csv")
        with pytest.raises(SystemExit) as ended:
            main(["exits", str(artifact), "--texts", dev, "--dev", dev, *arguments])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err

    def test_it_says_what_the_exits_change(
        self, artifact: Path, texts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        learn, dev = tmp_path / "texts.csv", tmp_path / "dev.csv"
        learn.write_text("text\n" + "".join(f'"{text}"\n' for text in texts if '"' not in text))
        dev.write_text("text,label\nIt is good.,positive\nI hate it.,negative\nIt is a chair.,neutral\n")
        flags = "--after 4 --epochs 40".split()
        main(["exits", str(artifact), "--texts", str(learn), "--dev", str(dev), *flags])
        assert "of the work; another label for 0.00 % of 3 texts; accuracy 100.00 %" in capsys.readouterr().out
