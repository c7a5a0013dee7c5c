"""A digest of everything that changes the prediction of a text, except the text itself."""

import hashlib
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import orjson

from .. import __version__
from .exits import EXITS
from .model import Model

_LIBRARIES = ("numpy", "tokenizers", "onnxruntime", "torch")
_CPUINFO = Path("/proc/cpuinfo")
_GPUS = Path("/proc/driver/nvidia/gpus")
# The maker of a processor, and its instruction sets: libraries have kernels for some, whose last digits differ.
_MAKER = re.compile(r"^(?:vendor_id|CPU implementer|CPU part)\s*:.*", flags=re.MULTILINE)
_INSTRUCTIONS = re.compile(r"\b(?:avx|amx|fma|asimd|sve|sme|i8mm|bf16)\w*")


def fingerprint_of(model: Model) -> bytes | None:
    """Return a digest that two models share only if they give the same scores, to the last digit; None if unknown.

    That is so for a backend of your own, whose weights and code are not known here. Besides the model, the digest
    covers the versions of this package and of the libraries, and the kind of processor.
    """
    info, artifact = model.info, model.artifact
    if info.backend != "mock" and (info.backend not in ("onnx", "torch") or info.checksum is None):
        return None
    parts = {
        "package": __version__,
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "hardware": _hardware(info.device),
        "backend": [info.backend, info.device, info.precision],
        "model": [info.checksum, info.manifest, info.labels, info.max_tokens, info.temperature, artifact.pad_id],
        "config": hashlib.sha256(artifact.source.read("config.json")).hexdigest() if artifact.files else None,
        "tokenizer": model.tokenizer.digest(),
        "exits": _exits(model),
    }
    return hashlib.blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=32).digest()


def _exits(model: Model) -> list[str] | None:
    """Return digests of what decides where a text leaves the model, and with which scores; None if it has no exits."""
    exits, source = model.artifact.exits, model.artifact.source
    if not model.info.exits or exits is None:
        return None
    return [hashlib.sha256(source.read(name)).hexdigest() for name in (EXITS, *exits.parts)]


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _hardware(device: str) -> list[str]:
    processor = _read(_CPUINFO)
    kinds = {platform.machine(), *_MAKER.findall(processor), *_INSTRUCTIONS.findall(processor)}
    if device != "cpu":
        for file in _GPUS.glob("*/information"):
            kinds |= {line.strip() for line in _read(file).splitlines() if line.startswith("Model:")}
    return sorted(kinds)


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
