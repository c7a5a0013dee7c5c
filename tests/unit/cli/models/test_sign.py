from pathlib import Path

import pytest

from app.artifacts import verify_signature
from app.cli.exits import Failure
from app.cli.models.sign import sign
from tests.support.artifacts import artifact, key_pair


def run(*args: str | Path) -> int:
    return int(sign.main([str(arg) for arg in args], "sign", standalone_mode=False))


def test_a_model_is_signed_and_the_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = artifact(tmp_path / "model")
    private, public = key_pair(tmp_path)
    assert run(tmp_path / "model", "--key", private) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'model' / 'model.sig'}\n"
    assert verify_signature(tmp_path / "model", [public]) == digest


def test_the_password_of_the_key_is_read_from_a_file(tmp_path: Path) -> None:
    artifact(tmp_path / "model")
    private, public = key_pair(tmp_path, password="secret words")
    (tmp_path / "password").write_text("secret words\n")
    assert run(tmp_path / "model", "--key", private, "--password-file", tmp_path / "password") == 0
    assert verify_signature(tmp_path / "model", [public])
    with pytest.raises(Failure, match=r"--password-file .*missing: No such file"):
        run(tmp_path / "model", "--key", private, "--password-file", tmp_path / "missing")


def test_only_a_directory_can_be_signed(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="model: there is no such directory"):
        run(tmp_path / "model", "--key", key_pair(tmp_path)[0])
