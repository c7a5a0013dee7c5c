"""A model directory: its contents and their integrity.

Any Hugging Face sequence classifier works. Directories written by `onnx_export` also have a `manifest.json` with the
sha256 of every file, and each file that is used is verified before the model is loaded.
"""

import hashlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ArtifactError, CorruptArtifact

MANIFEST = "manifest.json"
MAX_TOKENS = 512  # for models that state no limit

# Possible files of each format: first those that `onnx_export` writes, then those of hub models. The first one that
# exists is used.
FORMATS: dict[str, tuple[str, ...]] = {
    "int8": ("model_int8.onnx", "onnx/model_int8.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx"),
    "onnx": ("model.onnx", "onnx/model.onnx"),
    "safetensors": ("model.safetensors", "pytorch_model.bin"),
}
# What to download from the hub: the small files and the formats above.
_DOWNLOADS = ("*.json", "vocab.txt", "merges.txt", *(name for names in FORMATS.values() for name in names))

# Position ids of these models start after the padding id, so they read fewer tokens than they have positions.
_OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet", "longformer"})


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model directory that was read and is usable.

    `files` maps each available format to its file. Logits are divided by `temperature` before the softmax.
    """

    name: str
    directory: Path
    labels: tuple[str, ...]
    max_tokens: int
    pad_id: int
    files: dict[str, Path]
    manifest: dict[str, Any] = field(default_factory=dict, repr=False)
    temperature: float = 1.0

    @property
    def version(self) -> str:
        """The version in the manifest, or `unversioned`."""
        return str(self.manifest.get("version", "unversioned"))

    def checksum(self, file: Path) -> str:
        """Return the sha256 of `file`, from the manifest or, if it has none, computed."""
        stated = self.manifest.get("files", {}).get(file.relative_to(self.directory).as_posix(), {}).get("sha256")
        return stated or sha256(file)

    def verify_companions(self) -> None:
        """Verify all files of the model except its weights. A replaced tokenizer would change predictions, too."""
        weights = {name for names in FORMATS.values() for name in names}
        for name in self.manifest.get("files", {}):
            if name not in weights:
                if not (self.directory / name).is_file():
                    raise ArtifactError(f"{self.directory / name}: listed in {MANIFEST} but missing")
                self.verify(self.directory / name)

    def verify(self, *files: Path) -> None:
        """Raise `CorruptArtifact` for the first of `files` that differs from its manifest entry."""
        stated = self.manifest.get("files", {})
        for file in files:
            entry = stated.get(file.relative_to(self.directory).as_posix())
            if entry is not None and sha256(file) != entry["sha256"]:
                raise CorruptArtifact(f"{file}: checksum differs from {MANIFEST}; the file is corrupt or was replaced")


def open_artifact(model: str) -> Artifact:
    """Find and read a model by the name of an embedded model, a directory or a hub name.

    Raises `ArtifactError` with a message that says what is missing and what to do.
    """
    directory = locate(model)
    config = _read_json(directory / "config.json")
    return Artifact(
        name=directory.name if Path(model).exists() else model,
        directory=directory,
        labels=_labels(config, directory),
        max_tokens=_max_tokens(config, directory),
        pad_id=int(config.get("pad_token_id") or 0),
        files=_files(directory),
        manifest=_read_json(directory / MANIFEST) if (directory / MANIFEST).is_file() else {},
        temperature=_temperature(config, directory),
    )


def locate(model: str) -> Path:
    """Return the directory of `model`; a hub model is downloaded first.

    A hub name is `owner/name` or `owner/name@revision`, with a commit, tag or branch. The default is the newest commit.
    """
    package = Path(__file__).resolve().parents[1]
    # In a checkout the embedded models are next to the package, in a wheel inside it.
    for candidate in (Path(model).expanduser(), package.parent / "models" / model, package / "models" / model):
        if candidate.is_dir():
            return candidate.resolve()
    name, _, revision = model.partition("@")
    if name.count("/") != 1 or model.startswith((".", "/", "~")):
        raise ArtifactError(
            f"no such model: {model} is neither a directory, an embedded model nor a hub name (SENTIMENT_MODEL)"
        )
    # Not at the top: importing the hub client takes a tenth of a second, and the embedded model does not need it.
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(_DOWNLOADS)))
    except Exception as error:  # the client raises many types, including network errors of its HTTP library
        raise ArtifactError(
            f"{model} is not a local directory and could not be downloaded from the hub: {error}"
        ) from error


def sha256(file: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{file.parent}: no {file.name}; is this a model directory?") from None
    except ValueError as error:
        raise ArtifactError(f"{file}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{file}: not a JSON object")
    return content


def _labels(config: dict[str, Any], directory: Path) -> tuple[str, ...]:
    id2label = config.get("id2label")
    if not id2label or len(id2label) < 2 or config.get("problem_type") not in (None, "single_label_classification"):
        raise ArtifactError(f"{directory}: not a classifier with one label per text (see id2label in config.json)")
    labels = tuple(str(id2label[key]).lower() for key in sorted(id2label, key=int))
    if len(set(labels)) != len(labels):
        raise ArtifactError(f"{directory}: two labels in config.json differ in case only: {', '.join(labels)}")
    return labels


def _max_tokens(config: dict[str, Any], directory: Path) -> int:
    positions = int(config.get("max_position_embeddings") or MAX_TOKENS)
    if config.get("model_type") in _OFFSET_POSITIONS:
        positions -= int(config.get("pad_token_id") or 0) + 1
    tokenizer = directory / "tokenizer_config.json"
    stated = int(_read_json(tokenizer).get("model_max_length") or positions) if tokenizer.is_file() else positions
    return min(positions, stated)  # transformers writes 10**30 for "no limit"


def _temperature(config: dict[str, Any], directory: Path) -> float:
    stated = config.get("calibration_temperature", 1.0)
    is_number = isinstance(stated, int | float) and not isinstance(stated, bool)
    if not is_number or not 0 < stated <= sys.float_info.max:  # Python's JSON parser accepts NaN and Infinity
        raise ArtifactError(
            f"{directory / 'config.json'}: calibration_temperature must be a finite number above 0, not {stated!r}"
        )
    return float(stated)


def _files(directory: Path) -> dict[str, Path]:
    files = {}
    for kind, names in FORMATS.items():
        file = next((directory / name for name in names if (directory / name).is_file()), None)
        if file is not None:
            files[kind] = file
    return files
