"""An artifact says what it needs, and one that cannot be used here is refused by name."""

import json
import platform
from pathlib import Path

import pytest

from app import __version__
from app.errors import ArtifactError
from app.inference import requirements
from app.inference.artifact import open_artifact, sha256
from app.inference.requirements import FORMAT, WRITTEN_FOR, check_requirements


def artifact(directory: Path, config: dict[str, object] | None = None, **stated: object) -> Path:
    (directory / "config.json").write_text(json.dumps(config or {"id2label": {"0": "bad", "1": "good"}}))
    if config is None:
        checksum = sha256(directory / "config.json")
        (directory / "manifest.json").write_text(json.dumps({"files": {"config.json": {"sha256": checksum}}, **stated}))
    return directory


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"format": 1},
        {"format": FORMAT, "requires": WRITTEN_FOR},
        {"requires": ">= 0.0.1"},
        {"requires": f">={__version__}"},
        {"requires": f">={__version__}.0"},
        {"platforms": ["arm64", "AMD64", platform.machine()]},
    ],
)
def test_an_artifact_with_requirements_that_are_met_is_opened(tmp_path: Path, stated: dict[str, object]) -> None:
    assert open_artifact(str(artifact(tmp_path, **stated))).labels == ("bad", "good")


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"format": 2}, f"its format is 2, and rt-sentiment {__version__} reads formats up to 1; upgrade rt-sentiment"),
        ({"format": "2"}, "`format` in manifest.json must be a whole number above 0, not '2'"),
        ({"format": True}, "`format` in manifest.json must be a whole number above 0"),
        ({"format": 0}, "`format` in manifest.json must be a whole number above 0"),
        ({"requires": ">=99.1"}, f"it requires rt-sentiment >=99.1, and this is {__version__}; upgrade rt-sentiment"),
        ({"requires": "==1"}, "`requires` in manifest.json must be like >=0.2, not '==1'"),
        ({"requires": None}, "`requires` in manifest.json must be like >=0.2, not None"),
        ({"platforms": ["riscv64", "s390x"]}, "it is for riscv64, s390x, and this machine is .*; export the model"),
        ({"platforms": []}, "it is for no platform"),
        ({"platforms": "x86_64"}, "`platforms` in manifest.json must be a list of names such as x86_64"),
    ],
)
def test_one_that_is_too_new_or_for_others_is_refused(tmp_path: Path, stated: dict[str, object], message: str) -> None:
    with pytest.raises(ArtifactError, match=f"{tmp_path.name}: {message}"):
        open_artifact(str(artifact(tmp_path, **stated)))


@pytest.mark.parametrize(
    ("running", "requires", "fits"),
    [
        ("0.2.0.dev1", ">=0.2", True),
        ("0.2rc1", ">=0.2.0", True),
        ("0.10", ">=0.9", True),
        ("1", ">=1.0.0", True),
        ("0.9.9", ">=0.10", False),
        ("unknown", ">=0.1", False),
    ],
)
def test_versions_are_compared_by_their_numbers(
    monkeypatch: pytest.MonkeyPatch, running: str, requires: str, fits: bool
) -> None:
    monkeypatch.setattr(requirements, "__version__", running)
    if fits:
        check_requirements({"requires": requires}, Path("m"))
    else:
        with pytest.raises(ArtifactError, match=f"this is {running}; upgrade"):
            check_requirements({"requires": requires}, Path("m"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "its architecture in config.json is GPT2LMHeadModel, not …"),
        ({"architectures": ["BertForTokenClassification"]}, "is BertForTokenClassification, not …ForSequence"),
        ({"problem_type": "regression", "id2label": {"0": "stars"}}, "its problem_type in config.json is regression"),
        ({"architectures": ["BertForSequenceClassification"], "num_labels": 1}, "fewer than two labels, like a regr"),
    ],
)
def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path, config: dict[str, object], message: str) -> None:
    with pytest.raises(ArtifactError, match=f"not a classifier with one label per text: .*{message}"):
        open_artifact(str(artifact(tmp_path, config)))
