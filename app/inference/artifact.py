"""A model directory: its contents and their integrity.

Any Hugging Face sequence classifier works. See `files` for those that have a `manifest.json`.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ArtifactError
from . import checkpoint
from .exits import PARTS, Exits, read_exits
from .files import GOLDEN, SIGNATURE, ModelFiles, open_files, parse_json
from .requirements import check_requirements

_INDEX = ".index.json"  # ends the name of a file that lists the shards of large weights

# Possible files of each format: first those that `onnx_export` writes, then those of hub models. The first one that
# exists is used.
FORMATS: dict[str, tuple[str, ...]] = {
    "int8": ("model_int8.onnx", "onnx/model_int8.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx"),
    "onnx": ("model.onnx", "onnx/model.onnx"),
    "safetensors": ("model.safetensors", f"model.safetensors{_INDEX}"),
}
# Weights that only the exporter reads, because they are pickled: such a file may contain code.
PICKLED = ("pytorch_model.bin", f"pytorch_model.bin{_INDEX}")
# What to download from the hub: the small files, the formats above and their other parts. Tokenizers that only the
# exporter can read are in `*.txt` and `*.model`.
_DOWNLOADS = (
    SIGNATURE,
    "golden.jsonl",
    "*.json",
    "*.txt",
    "*.model",
    GOLDEN,
    *(name for names in FORMATS.values() for name in names),
    *PICKLED,
    PARTS,
    *(f"{name}{end}" for kind in ("int8", "onnx") for name in FORMATS[kind] for end in ("_data", ".data")),
    "model-*.safetensors",
    "pytorch_model-*.bin",
)
_RUN_RESULT = "checkpoint"  # where `python -m training train` writes its result, in the directory of the run
_MOST_LISTED = 10
_LARGEST_SMALL_GRAPH = 64 * 1024**2
_WEIGHTS = (".safetensors", ".bin", "_data", ".data")  # how the names of other files with weights end
# The name of a file with weights of an ONNX graph: an entry of `external_data` with the key "location". The rest is the
# length of the name, as a protobuf varint, and the name.
_LOCATION = re.compile(rb"\x0a\x08location\x12([\x80-\xff]?[\x00-\x7f])")


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
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)
    temperature: float = 1.0
    manifest_sha256: str | None = None
    exits: Exits | None = None
    checksums: dict[Path, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def version(self) -> str:
        """The version in the manifest, or `unversioned`."""
        return str(self.manifest.get("version", "unversioned"))

    @property
    def source(self) -> ModelFiles:
        """Reads any file of the directory, and verifies it."""
        return ModelFiles(self.directory, self.manifest, self.manifest_sha256)

    def read_weights(self, file: Path) -> Iterator[tuple[str, bytes]]:
        """Yield the name and the bytes of `file`, and then of the other files with its weights, one at a time.

        These are the shards of an index, or the external data of an ONNX graph. Names are relative to the folder of
        `file`. Each is verified: see `ModelFiles.read`. Raises `ArtifactError`, too, for an index that is not valid.
        """
        folder = file.relative_to(self.directory).parent
        content, checksum = self.source.read_and_hash((folder / file.name).as_posix())
        yield file.name, content
        names = _shards(content, file) if file.name.endswith(_INDEX) else self._external_files(content, file)
        del content
        checksums = [checksum]
        for name in names:
            part, checksum = self.source.read_and_hash((folder / name).as_posix())
            checksums.append(checksum)
            yield name, part
            del part  # before the next one is read: each may take gigabytes
        if len(checksums) > 1:
            checksum = hashlib.sha256("".join(checksums).encode()).hexdigest()
        self.checksums[file] = checksum

    def weight_bytes(self, file: Path) -> int:
        """Return the size of `file` and of the other files with its weights. Raises `ArtifactError` if one is missing.

        No weights are read: a graph that is large has its weights inside.
        """
        try:
            size = file.stat().st_size
            content = file.read_bytes() if file.name.endswith(_INDEX) or size <= _LARGEST_SMALL_GRAPH else b""
            names = _shards(content, file) if file.name.endswith(_INDEX) else self._external_files(content, file)
            return size + sum(file.with_name(name).stat().st_size for name in names)
        except OSError as error:
            raise ArtifactError(f"{error.filename}: {error.strerror}") from None

    def checksum(self, file: Path) -> str:
        """Return the sha256 of `file` as it was last read; if it has several parts, of the sha256 of all of them."""
        if file not in self.checksums:
            self.verify(file)
        return self.checksums[file]

    def verify_companions(self) -> None:
        """Verify all files of the model except its weights. A replaced tokenizer would change predictions, too."""
        weights = {name for names in FORMATS.values() for name in names}
        for name in self.manifest.get("files", {}):
            if name not in weights and not name.endswith(_WEIGHTS):
                self.source.read(name)

    def verify(self, *files: Path) -> None:
        """Raise `CorruptArtifact` for the first of `files`, or their parts, that the manifest does not have like this.

        Between this and another read, a file may be replaced: a backend uses the bytes from `read_weights`.
        """
        for file in files:
            for _ in self.read_weights(file):
                pass

    def _external_files(self, content: bytes, file: Path) -> list[str]:
        if file.suffix != ".onnx":
            return []
        names = set()
        for match in _LOCATION.finditer(content):
            low, *high = match[1]
            end = match.end() + low % 128 + 128 * sum(high)
            names.add(content[match.end() : end].decode(errors="replace"))
        folder = file.relative_to(self.directory).parent
        # Skip names of files that do not exist. If one is needed, ONNX Runtime names it.
        return [name for name in sorted(names) if self.source.has((folder / name).as_posix())]


def open_artifact(model: str, digest: str = "") -> Artifact:
    """Find and read a model by the name of an embedded model, a directory or a hub name.

    `digest` is the sha256 that its manifest must have, if any. Raises `ArtifactError` with a message that says what is
    missing and what to do.
    """
    directory = locate(model)
    if _is_run(directory):
        raise ArtifactError(f"{model} is the directory of a training; its model is in {Path(model) / _RUN_RESULT}")
    files = open_files(directory, digest)
    check_requirements(files.manifest, directory)
    config = files.read_json("config.json")
    labels = checkpoint.labels(config, directory)
    return Artifact(
        name=directory.name if Path(model).exists() else model,
        directory=directory,
        labels=labels,
        max_tokens=checkpoint.max_tokens(config, files),
        pad_id=checkpoint.pad_id(config, directory),
        files=_files(directory),
        manifest=files.manifest,
        manifest_sha256=files.manifest_sha256,
        temperature=checkpoint.temperature(config, directory),
        exits=read_exits(files, len(labels)),
    )


def find_directory(model: str) -> Path | None:
    """Return the directory of a model that is on this machine, or None."""
    package = Path(__file__).resolve().parents[1]
    # In a checkout the embedded models are next to the package, in a wheel inside it.
    candidates = (Path(model).expanduser(), package.parent / "models" / model, package / "models" / model)
    return next((candidate.resolve() for candidate in candidates if candidate.is_dir()), None)


def locate(model: str) -> Path:
    """Return the directory of `model`; a hub model is downloaded first.

    A hub name is `owner/name` or `owner/name@revision`, with a commit, tag or branch. The default is the newest commit.
    """
    if directory := find_directory(model):
        return directory
    name, _, revision = model.partition("@")
    # A typing error in a path must not become a request to the hub.
    if "/" in name and not revision and (parent := Path(name).expanduser().parent).is_dir():
        hub = (
            f"; if it is a model of the hub, write {name}@main" if name.count("/") == 1 and name[0] not in "./~" else ""
        )
        raise ArtifactError(f"no such model: {name} does not exist; {parent} has {_listed(parent)}{hub}")
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


def _is_run(directory: Path) -> bool:
    return not (directory / "config.json").is_file() and (directory / _RUN_RESULT / "config.json").is_file()


def _listed(directory: Path) -> str:
    """Return the names of folders that may be meant."""
    names = sorted(file.name for file in directory.iterdir() if file.is_dir() and not file.name.startswith("."))
    return ", ".join(names[:_MOST_LISTED]) + (", …" if len(names) > _MOST_LISTED else "") or "no folders"


def sha256(file: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _shards(index: bytes, file: Path) -> list[str]:
    """Return the names of the shards that `file`, whose content is `index`, lists."""
    places = parse_json(index, file).get("weight_map")
    if not isinstance(places, dict) or any(Path(str(name)).name != name for name in places.values()):
        raise ArtifactError(f"{file}: weight_map must name the shard of each weight")
    names = sorted(set(places.values()))
    if missing := [name for name in names if not file.with_name(name).is_file()]:
        raise ArtifactError(f"{file.parent}: no {', '.join(missing)}, which {file.name} lists")
    return names


def _files(directory: Path) -> dict[str, Path]:
    files = {}
    for kind, names in FORMATS.items():
        file = next((directory / name for name in names if (directory / name).is_file()), None)
        if file is not None:
            files[kind] = file
    return files
