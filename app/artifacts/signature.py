"""Signatures of artifacts, as OpenSSF Model Signing defines them: the file `model.sig`.

A signature covers the manifest and all files that it lists. It is made with a private key on an elliptic curve (P-256,
P-384 or P-521), and verified with the public one. No other server is asked.
"""

import base64
import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ArtifactError, CorruptArtifact, SetupError
from ..inference import MANIFEST, SIGNATURE, open_files

# Written by hand and not listed in the manifest, so it is neither signed nor downloaded.
_CARD = "MODEL_CARD.md"
_GIT = (".git", ".gitattributes", ".github", ".gitignore")
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_HINT = "openssl ecparam -name prime256v1 -genkey -noout -out private.pem"


def verify_signature(directory: Path, keys: Sequence[Path]) -> str:
    """Return the sha256 of the manifest that is signed with one of the public `keys`, in files of PEM.

    Open the artifact with this digest: then what is loaded is what was signed, even if files are replaced in between.
    Raises `ArtifactError` if there is no signature, `CorruptArtifact` if it is of another key or of other files, and
    `SetupError` if a key cannot be used or the extra `signing` is not installed.
    """
    file = directory / SIGNATURE
    _import_library()
    by_hash = dict(_read_key(key) for key in keys)
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(
            f"{directory} is not signed, and SENTIMENT_MODELS_KEYS requires it; sign it with `rt-sentiment models sign`"
        ) from None
    except OSError as error:
        raise ArtifactError(f"{file}: {error.strerror}") from None
    key_hash, signed = _parse(content, file)
    if key_hash not in by_hash:
        raise CorruptArtifact(f"{directory} is signed with another key than those of SENTIMENT_MODELS_KEYS")
    _verify(directory, content, by_hash[key_hash], signed)
    if MANIFEST not in signed:
        raise CorruptArtifact(f"{file}: it does not cover {MANIFEST}; sign it with `rt-sentiment models sign`")
    return signed[MANIFEST]


def sign(directory: Path, key: Path, password: str | None = None) -> Path:
    """Sign an artifact with a private key (PEM), and return the file of the signature.

    Raises `ArtifactError` if the artifact is not complete, or has files that its manifest does not list, and
    `SetupError` if the key cannot be used or the extra `signing` is not installed.
    """
    _import_library()
    from model_signing import hashing, signing

    _check_files(directory)
    try:
        config = signing.Config().use_elliptic_key_signer(
            private_key=key, password=password.encode() if password else None
        )
    except FileNotFoundError:
        raise SetupError(f"{key}: there is no such file; `{_HINT}` creates a key") from None
    except OSError as error:
        raise SetupError(f"{key}: {error.strerror}") from None
    except Exception as error:  # cryptography raises many types, and its messages do not quote the key
        raise SetupError(f"{key}: not a private key that can be used ({error}); `{_HINT}` creates one") from None
    ignored: list[Path | str] = [SIGNATURE, _CARD]
    hashed = hashing.Config().set_allow_symlinks(True).set_ignored_paths(paths=ignored)
    try:
        config.set_hashing_config(hashed).sign(directory, directory / SIGNATURE)
    except OSError as error:
        raise ArtifactError(f"{directory / SIGNATURE} cannot be written: {error.strerror}") from None
    return directory / SIGNATURE


def _check_files(directory: Path) -> None:
    """Raise `ArtifactError` unless the files are those of the manifest, with their checksums."""
    files = open_files(directory)
    if not files.manifest:
        raise ArtifactError(
            f"{directory}: no {MANIFEST}, which a signature needs; export the model with `python -m onnx_export`"
        )
    listed = files.manifest["files"]
    for name in listed:
        files.read(name)
    present = {file.relative_to(directory).as_posix() for file in directory.rglob("*") if file.is_file()}
    if more := sorted(name for name in present - {*listed, MANIFEST} if not _is_ignored(name)):
        raise ArtifactError(f"{directory}: {MANIFEST} does not list {', '.join(more)}; remove it, or export again")


def _import_library() -> None:
    try:
        import model_signing.signing
        import model_signing.verifying  # noqa: F401 - both need packages that it does not declare
    except ImportError as error:
        raise SetupError(f"signatures need another package ({error}): pip install 'rt-sentiment[signing]'") from None


def _read_key(file: Path) -> tuple[str, Path]:
    """Return the hash by which a signature names its key, and the file."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        key = load_pem_public_key(file.read_bytes())
    except OSError as error:
        raise SetupError(f"SENTIMENT_MODELS_KEYS: {file}: {error.strerror}") from None
    except Exception:  # cryptography raises many types
        raise SetupError(f"SENTIMENT_MODELS_KEYS: {file} is not a public key in PEM") from None
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise SetupError(f"SENTIMENT_MODELS_KEYS: {file} must be a key on the curve P-256, P-384 or P-521")
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest(), file


def _parse(content: bytes, file: Path) -> tuple[str, dict[str, str]]:
    """Return the hash of the key, and the sha256 of each signed file by its name. Nothing is verified here."""
    try:
        bundle: dict[str, Any] = json.loads(content)
        key_hash = bundle["verificationMaterial"]["publicKey"]["hint"]
        predicate = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))["predicate"]
        stated = predicate["serialization"]
        entries = {entry["name"]: entry["digest"] for entry in predicate["resources"]}
    except (ValueError, LookupError, TypeError, RecursionError):
        raise CorruptArtifact(f"{file}: not a signature that was made with a key; sign the artifact again") from None
    if (stated.get("method"), stated.get("hash_type")) != ("files", "sha256"):
        raise CorruptArtifact(
            f"{file}: it does not state the sha256 of each file; sign with `rt-sentiment models sign`"
        )
    return str(key_hash), entries


def _verify(directory: Path, content: bytes, key: Path, signed: dict[str, str]) -> None:
    from cryptography.exceptions import InvalidSignature
    from model_signing import hashing, verifying

    # A copy, because what was parsed must be what is verified.
    with tempfile.NamedTemporaryFile(suffix=SIGNATURE) as copy:
        copy.write(content)
        copy.flush()
        # The files of a model from the hub are links. One thread, because the others serve requests.
        hashed = (
            hashing.Config()
            .use_file_serialization(max_workers=1)
            .set_allow_symlinks(True)
            .set_ignored_paths(paths=[SIGNATURE])
        )
        config = verifying.Config().use_elliptic_key_verifier(public_key=key).set_hashing_config(hashed)
        try:
            config.verify(directory, copy.name)
        except InvalidSignature:
            raise CorruptArtifact(f"{directory}: {SIGNATURE} was changed after it was made") from None
        except OSError as error:
            raise ArtifactError(f"{directory}: {error.strerror or error}") from None
        except Exception as error:  # the library raises ValueError for other files, and more for a broken signature
            why = _differences(directory, signed) or f"{SIGNATURE} cannot be used ({type(error).__name__})"
            raise CorruptArtifact(f"{directory} is not what was signed: {why}") from None


def _differences(directory: Path, signed: dict[str, str]) -> str:
    """Say which files are not those that were signed. The library quotes the bytes of each checksum."""
    present = {file.relative_to(directory).as_posix(): file for file in directory.rglob("*") if not file.is_dir()}
    parts = {
        "was changed": [name for name in signed if name in present and _sha256(present[name]) != signed[name]],
        "is missing": [name for name in signed if name not in present],
        "was added": [name for name in present if name not in signed and not _is_ignored(name)],
    }
    return ", ".join(f"{name} {what}" for what, names in parts.items() for name in sorted(names))


def _is_ignored(name: str) -> bool:
    """Return whether the library or we leave out a file. None of these is ever loaded."""
    return name in (SIGNATURE, _CARD) or name.partition("/")[0] in _GIT


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:  # such as a link to nothing
        return ""
