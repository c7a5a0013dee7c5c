"""Signatures: what is signed, and what is refused where keys are configured."""

import base64
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.artifacts import sign, verify_signature
from app.errors import ArtifactError, CorruptArtifact, SetupError
from app.inference import open_artifact
from tests.support.artifacts import artifact, key_pair, write_manifest
from tests.support.checkpoints import edit


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return key_pair(tmp_path)


@pytest.fixture
def model(tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    """A signed artifact."""
    artifact(tmp_path / "model")
    sign(tmp_path / "model", keys[0])
    return tmp_path / "model"


def test_a_signature_gives_the_digest_of_the_manifest(model: Path, keys: tuple[Path, Path]) -> None:
    digest = verify_signature(model, [keys[1]])
    assert open_artifact(str(model), digest).manifest_sha256 == digest
    assert (model / "model.sig").is_file()


def test_any_of_several_keys_is_enough(model: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    others = [key_pair(tmp_path, name)[1] for name in ("other", "another")]
    assert verify_signature(model, [others[0], keys[1], others[1]])


def test_a_key_may_have_a_password(tmp_path: Path) -> None:
    artifact(tmp_path / "model")
    private, public = key_pair(tmp_path, password="secret")
    with pytest.raises(SetupError, match=r"key\.pem: not a private key that can be used \(.*assword"):
        sign(tmp_path / "model", private)
    with pytest.raises(SetupError, match=r"key\.pem: not a private key that can be used"):
        sign(tmp_path / "model", private, "wrong")
    sign(tmp_path / "model", private, "secret")
    assert verify_signature(tmp_path / "model", [public])


def test_an_artifact_without_a_signature_is_refused(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    artifact(tmp_path / "model")
    message = "model is not signed, and SENTIMENT_MODELS_KEYS requires it; sign it with `rt-sentiment models sign`"
    with pytest.raises(ArtifactError, match=message):
        verify_signature(tmp_path / "model", [keys[1]])
    (tmp_path / "model" / "model.sig").mkdir()
    with pytest.raises(ArtifactError, match=r"model\.sig: Is a directory"):
        verify_signature(tmp_path / "model", [keys[1]])


def test_a_signature_of_another_key_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifact, match="is signed with another key than those of SENTIMENT_MODELS_KEYS"):
        verify_signature(model, [key_pair(tmp_path, "other")[1]])


def tamper(model: Path) -> None:
    (model / "config.json").write_text('{"id2label": {"0": "good", "1": "bad"}}')


def tamper_with_manifest(model: Path) -> None:
    tamper(model)
    write_manifest(model)


def add(model: Path) -> None:
    (model / "model.onnx").write_bytes(b"other weights")


def remove(model: Path) -> None:
    (model / "onnx" / "model.onnx").unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (tamper, r"config\.json was changed$"),
        (tamper_with_manifest, r"config\.json was changed, manifest\.json was changed$"),
        (add, r"model\.onnx was added$"),
        (remove, r"onnx/model\.onnx is missing$"),
    ],
)
def test_files_that_were_changed_added_or_removed_are_named(
    model: Path, keys: tuple[Path, Path], change: Callable[[Path], None], message: str
) -> None:
    change(model)
    with pytest.raises(CorruptArtifact, match=f"is not what was signed: {message}"):
        verify_signature(model, [keys[1]])


def rewrite(model: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what is signed, without the key."""
    bundle = json.loads((model / "model.sig").read_text())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(statement["predicate"])
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    (model / "model.sig").write_text(json.dumps(bundle))


def test_a_signature_that_was_changed_is_refused(model: Path, keys: tuple[Path, Path]) -> None:
    rewrite(model, lambda predicate: predicate["resources"].reverse())
    with pytest.raises(CorruptArtifact, match=r"model\.sig was changed after it was made"):
        verify_signature(model, [keys[1]])


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"verificationMaterial": {"publicKey": {"hint": "x"}}}', "[" * 10**5]
)
def test_a_file_that_is_no_signature_is_refused(model: Path, keys: tuple[Path, Path], content: str) -> None:
    (model / "model.sig").write_text(content)
    with pytest.raises(CorruptArtifact, match=r"model\.sig: not a signature that was made with a key; sign the artif"):
        verify_signature(model, [keys[1]])


def test_a_signature_of_another_form_is_refused(model: Path, keys: tuple[Path, Path]) -> None:
    rewrite(model, lambda predicate: predicate["serialization"].update(method="shards"))
    with pytest.raises(CorruptArtifact, match="it does not state the sha256 of each file; sign with `rt-sentiment"):
        verify_signature(model, [keys[1]])


def test_a_broken_signature_of_the_right_key_is_refused(model: Path, keys: tuple[Path, Path]) -> None:
    edit(model / "model.sig", mediaType="text/plain")
    with pytest.raises(CorruptArtifact, match=r"is not what was signed: model\.sig cannot be used \(Val"):
        verify_signature(model, [keys[1]])


def test_a_signature_made_by_the_library_alone_is_accepted(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    from model_signing import hashing, signing

    model = tmp_path / "model"
    artifact(model)
    file = model / "model.sig"
    hashed = hashing.Config().set_ignored_paths(paths=[file])
    config = signing.Config().use_elliptic_key_signer(private_key=keys[0])
    config.set_hashing_config(hashed).sign(model, file)
    assert verify_signature(model, [keys[1]]) == open_artifact(str(model)).manifest_sha256


def test_a_signature_must_cover_the_manifest(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    from model_signing import hashing, signing

    model = tmp_path / "model"
    artifact(model)
    hashed = hashing.Config().set_ignored_paths(paths=["model.sig", "manifest.json"])
    config = signing.Config().use_elliptic_key_signer(private_key=keys[0])
    config.set_hashing_config(hashed).sign(model, model / "model.sig")
    with pytest.raises(CorruptArtifact, match=r"it does not cover manifest\.json; sign it with"):
        verify_signature(model, [keys[1]])


def test_links_as_in_the_cache_of_the_hub_are_followed(model: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.move(model / "config.json", tmp_path / "blob")
    (model / "config.json").symlink_to(tmp_path / "blob")
    (model / "gone").symlink_to(tmp_path / "nothing")
    with pytest.raises(CorruptArtifact, match=r"is not what was signed: gone was added$"):
        verify_signature(model, [keys[1]])
    (model / "gone").unlink()
    assert verify_signature(model, [keys[1]])
    (tmp_path / "blob").unlink()
    with pytest.raises(CorruptArtifact, match=r"is not what was signed: config\.json was changed$"):
        verify_signature(model, [keys[1]])


def test_the_card_is_neither_signed_nor_in_the_way(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    artifact(tmp_path / "model")
    (tmp_path / "model" / "MODEL_CARD.md").write_text("before")
    (tmp_path / "model" / ".gitattributes").write_text("of a clone of the hub")
    sign(tmp_path / "model", keys[0])
    (tmp_path / "model" / "MODEL_CARD.md").write_text("after")
    assert verify_signature(tmp_path / "model", [keys[1]])
    (tmp_path / "model" / "MODEL_CARD.md").unlink()
    assert verify_signature(tmp_path / "model", [keys[1]])


def test_only_a_complete_artifact_is_signed(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    model = tmp_path / "model"
    artifact(model)
    add(model)
    with pytest.raises(ArtifactError, match=r"manifest\.json does not list model\.onnx; remove it, or export again"):
        sign(model, keys[0])
    (model / "model.onnx").unlink()
    tamper(model)
    with pytest.raises(CorruptArtifact, match=r"config\.json: checksum differs"):
        sign(model, keys[0])
    (model / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"no manifest\.json, which a signature needs; export the model with"):
        sign(model, keys[0])
    assert not (model / "model.sig").exists()


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact(tmp_path / "model")
    (tmp_path / "model" / "model.sig" / "in the way").mkdir(parents=True)
    with pytest.raises(ArtifactError, match=r"model\.sig cannot be written: Is a directory"):
        sign(tmp_path / "model", keys[0])


@pytest.mark.parametrize(("content", "message"), [(None, "there is no such file"), ("x", "not a private key that can")])
def test_a_private_key_that_cannot_be_used_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    artifact(tmp_path / "model")
    if content:
        (tmp_path / "private.pem").write_text(content)
    with pytest.raises(SetupError, match=rf"private\.pem: {message}.*; `openssl ecparam .* creates"):
        sign(tmp_path / "model", tmp_path / "private.pem")
    with pytest.raises(SetupError, match="model: Is a directory"):
        sign(tmp_path / "model", tmp_path / "model")


def public_bytes(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def test_a_public_key_that_cannot_be_used_is_named(model: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pub"
    with pytest.raises(SetupError, match=r"SENTIMENT_MODELS_KEYS: .*wrong\.pub: No such file"):
        verify_signature(model, [wrong])
    with pytest.raises(SetupError, match=r"SENTIMENT_MODELS_KEYS: .*key\.pem is not a public key in PEM"):
        verify_signature(model, [keys[0]])
    for key in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256K1())):
        wrong.write_bytes(public_bytes(key))
        with pytest.raises(SetupError, match=r"wrong\.pub must be a key on the curve P-256, P-384 or P-521"):
            verify_signature(model, [keys[1], wrong])


def test_without_the_extra_the_package_to_install_is_named(
    model: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing.signing", None)
    with pytest.raises(SetupError, match=r"signatures need another package .*: pip install 'rt-sentiment\[signing\]'"):
        verify_signature(model, [keys[1]])
    with pytest.raises(SetupError, match="signatures need another package"):
        sign(model, keys[0])
