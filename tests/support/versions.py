"""Versions of the embedded model that can be told apart, and a models file that servers follow."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from tests.support.artifacts import write_manifest
from tests.support.process import ROOT

LABELS = ("negative", "neutral", "positive")


def write_version(folder: Path, name: str, *, golden: bool = True) -> Path:
    """Write a copy of the embedded model whose labels begin with `name`, in one step as a deployment would.

    Without `golden`, its golden texts state other labels than the model gives.
    """
    new = folder.with_name(f".{folder.name}.new")
    shutil.copytree(
        ROOT / "models" / "sentiment-en", new, ignore=shutil.ignore_patterns("*.safetensors", "MODEL_CARD.md")
    )
    config = json.loads((new / "config.json").read_text())
    config["id2label"] = {str(place): f"{name} {label}" for place, label in enumerate(LABELS)}
    config["label2id"] = {label: int(place) for place, label in config["id2label"].items()}
    (new / "config.json").write_text(json.dumps(config))
    lines = [json.loads(line) for line in (new / "golden.jsonl").read_text().splitlines()]
    for line in lines:
        place = LABELS.index(line["label"])
        line["label"] = f"{name} {LABELS[place if golden else place - 1]}"
    (new / "golden.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_manifest(new, version=name)
    replace_folder(folder, new)
    return folder


def replace_folder(folder: Path, new: Path) -> None:
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old")
        folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old)
    else:
        new.rename(folder)


def write_models(file: Path, **models: dict[str, Any]) -> Path:
    """Replace a models file; each model has sources with their weights, or "shadow"."""
    lines = ["models:"]
    for name, versions in models.items():
        lines += [f"  {name.replace('_', '-')}:", "    versions:"]
        for source, weight in versions.items():
            what = "shadow: true" if weight == "shadow" else f"weight: {weight}"
            lines.append(f"      - {{path: {source}, {what}}}")
    return write_text(file, "\n".join(lines) + "\n")


def write_text(file: Path, text: str) -> Path:
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    os.replace(new, file)  # noqa: PTH105 - shows what it is: one step
    return file
