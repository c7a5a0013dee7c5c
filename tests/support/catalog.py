"""Versions and artifacts for tests of the models file."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from app.catalog import Catalog, ModelSpec, VersionSpec


def version(source: str, weight: float = 0, *, shadow: bool = False) -> VersionSpec:
    return VersionSpec(source, "path", weight, shadow)


def one_model(*versions: VersionSpec) -> Catalog:
    return Catalog((ModelSpec("m", versions),))


def write_artifact(folder: Path, *, labels: Sequence[str] = ("negative", "positive"), name: str = "1") -> str:
    """Write a model that can be opened, but not run. Returns the checksum of its manifest."""
    folder.mkdir(parents=True)
    config = {"id2label": dict(enumerate(labels)), "architectures": ["DistilBertForSequenceClassification"]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.onnx").write_bytes(b"graph")
    files = {
        file.name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "bytes": file.stat().st_size}
        for file in folder.iterdir()
    }
    manifest = json.dumps({"version": name, "files": files}).encode()
    (folder / "manifest.json").write_bytes(manifest)
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"
