"""Write `manifest.json`: the files of an artifact, its origin and its accuracy."""

import importlib.metadata
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.inference.artifact import sha256
from app.inference.files import MANIFEST
from app.inference.requirements import FORMAT, WRITTEN_FOR

_TOOLS = ("torch", "transformers", "optimum", "onnx", "onnxruntime", "tokenizers")


def write_manifest(
    directory: Path,
    version: str,
    metrics: Mapping[str, Any],
    development: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> None:
    """Record each file of `directory` with sha256 and size, what can load it, and the model's metrics and origin.

    `development` has what its answers to held-out texts are like: see `app/inference/development.py`.
    """
    files = {
        file.relative_to(directory).as_posix(): describe(file)
        for file in sorted(directory.rglob("*"))
        if file.is_file() and file.name not in (MANIFEST, "MODEL_CARD.md")
    }
    manifest = {
        "format": FORMAT,
        "requires": WRITTEN_FOR,
        "version": version,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": files,
        "metrics": dict(metrics),
        "provenance": dict(provenance),
        "tools": {name: importlib.metadata.version(name) for name in _TOOLS},
        "development": dict(development),
    }
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def describe(file: Path) -> dict[str, Any]:
    """Return the entry of a file."""
    return {"sha256": sha256(file), "bytes": file.stat().st_size}
