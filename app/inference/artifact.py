"""A model directory: its contents and their integrity.

Any Hugging Face sequence classifier works. Directories written by `onnx_export` also have a `manifest.json` with the
sha256 of every file, and each file that is used is verified before the model is loaded.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ArtifactError, CorruptArtifact
from . import checkpoint
from .checkpoint import optional_json, read_json

MANIFEST = "manifest.json"
_INDEX = ".index.json"  # ends the name of a file that lists the shards of large weights

# Possible files of each format: first those that `onnx_export` writes, then those of hub models. The first one that
# exists is used.
FORMATS: dict[str, tuple[str, ...]] = {
    "int8": ("model_int8.onnx", "onnx/model_int8.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx"),
    "onnx": ("model.onnx", "onnx/model.onnx"),
    "safetensors": (
        "model.safetensors",
        f"model.safetensors{_INDEX}",
        "pytorch_model.bin",
        f"pytorch_model.bin{_INDEX}",
    ),
}
# What to download from the hub: the small files, the formats above and their other parts. Tokenizers that only the
# exporter can read are in `*.txt` and `*.model`.
_DOWNLOADS = (
    "*.json",
    "*.txt",
    "*.model",
    *(name for names in FORMATS.values() for name in names),
    *(f"{name}{end}" for kind in ("int8", "onnx") for name in FORMATS[kind] for end in ("_data", ".data")),
    "model-*.safetensors",
    "pytorch_model-*.bin",
)
_WEIGHTS = (".safetensors", ".bin", "_data", ".data")  # how the names of other files with weights end


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model directory that was read and is usable.

    `files` maps each available format to its file, which for weights in shards is their index. Logits are divided by
    `temperature` before the softmax.
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

    def parts(self, file: Path) -> list[Path]:
        """Return `file` and the files with the rest of its weights: the shards of an index, or a graph's external data.

        Raises `ArtifactError` for an index that is not valid or has a shard that is missing.
        """
        if not file.name.endswith(_INDEX):
            return [file, *sorted(file.parent.glob(f"{file.name}[_.]data*"))]
        places = read_json(file).get("weight_map")
        if not isinstance(places, dict) or any(Path(str(name)).name != name for name in places.values()):
            raise ArtifactError(f"{file}: weight_map must name the shard of each weight")
        shards = [file.with_name(name) for name in sorted(set(places.values()))]
        if missing := [shard.name for shard in shards if not shard.is_file()]:
            raise ArtifactError(f"{self.directory}: no {', '.join(missing)}, which {file.name} lists")
        return [file, *shards]

    def checksum(self, file: Path) -> str:
        """Return the sha256 of `file`, or of the sha256 of all its parts.

        The sha256 of each is from the manifest or, if it has none, computed.
        """
        sums = [self._stated(part).get("sha256") or sha256(part) for part in self.parts(file)]
        return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()

    def verify_companions(self) -> None:
        """Verify all files of the model except its weights. A replaced tokenizer would change predictions, too."""
        weights = {name for names in FORMATS.values() for name in names}
        for name in self.manifest.get("files", {}):
            if name not in weights and not name.endswith(_WEIGHTS):
                if not (self.directory / name).is_file():
                    raise ArtifactError(f"{self.directory / name}: listed in {MANIFEST} but missing")
                self.verify(self.directory / name)

    def verify(self, *files: Path) -> None:
        """Raise `CorruptArtifact` for the first of `files`, or their parts, that differs from its manifest entry."""
        for file in (part for each in files for part in self.parts(each)):
            entry = self._stated(file)
            if entry and sha256(file) != entry["sha256"]:
                raise CorruptArtifact(f"{file}: checksum differs from {MANIFEST}; the file is corrupt or was replaced")

    def _stated(self, file: Path) -> dict[str, Any]:
        entry: dict[str, Any] = self.manifest.get("files", {}).get(file.relative_to(self.directory).as_posix(), {})
        return entry


def open_artifact(model: str) -> Artifact:
    """Find and read a model by the name of an embedded model, a directory or a hub name.

    Raises `ArtifactError` with a message that says what is missing and what to do.
    """
    directory = locate(model)
    config = read_json(directory / "config.json")
    return Artifact(
        name=directory.name if Path(model).exists() else model,
        directory=directory,
        labels=checkpoint.labels(config, directory),
        max_tokens=checkpoint.max_tokens(config, directory),
        pad_id=checkpoint.pad_id(config, directory),
        files=_files(directory),
        manifest=optional_json(directory / MANIFEST),
        temperature=checkpoint.temperature(config, directory),
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


def _files(directory: Path) -> dict[str, Path]:
    files = {}
    for kind, names in FORMATS.items():
        file = next((directory / name for name in names if (directory / name).is_file()), None)
        if file is not None:
            files[kind] = file
    return files
