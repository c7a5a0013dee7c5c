"""`python -m training rename-labels`: give the labels of a checkpoint or artifact other names.

Only names change: the model, its scores and the order of its labels stay.
"""

import argparse
import json
from pathlib import Path

from app.inference.artifact import open_artifact, sha256
from app.inference.checkpoint import KEEP_LABEL_CASE
from app.inference.files import MANIFEST
from training.data import LabelMap, label_key
from training.errors import InputError
from training.files import read_json, replace

_CONFIG = "config.json"


def rename_labels(model: Path, names: LabelMap) -> tuple[str, ...]:
    """Rename labels of `model` and return all of its labels. Those that `names` does not list stay.

    An artifact gets a new checksum of its config, and so a new digest. Raises `InputError` for a label that the model
    does not have, or if two labels would be equal.
    """
    artifact = open_artifact(str(model))
    old = artifact.labels
    keys = {label_key(label) for label in old}
    if unknown := [theirs for theirs in names.names if theirs not in keys]:
        raise InputError(f"{model} has no label {', '.join(unknown)}; it has {', '.join(old)}")
    if names.other:
        raise InputError("other= has no meaning here; labels that are not listed keep their names")
    new = tuple(names.names.get(label_key(label), label) for label in old)
    if len({label_key(label) for label in new}) != len(new):
        raise InputError(f"two labels would be equal: {', '.join(new)}; a model cannot merge labels, a training can")
    file = artifact.directory / _CONFIG
    by_index = {str(index): label for index, label in enumerate(new)}
    changes = {
        "id2label": by_index,
        "label2id": {label: index for index, label in enumerate(new)},
        KEEP_LABEL_CASE: True,
    }
    content = json.dumps(read_json(file) | changes, indent=2, ensure_ascii=False) + "\n"
    manifest = artifact.directory / MANIFEST
    if manifest.is_file():
        _replace_both(file, manifest, content)
    else:
        replace(file, content)
    return open_artifact(str(artifact.directory)).labels


def _replace_both(config: Path, manifest: Path, content: str) -> None:
    """Replace the config of an artifact and its checksum. In between, the artifact is refused as corrupt."""
    fresh = config.with_name(f"{_CONFIG}.renamed")
    fresh.write_text(content, encoding="utf-8")
    record = read_json(manifest)
    record["files"][_CONFIG] = {"sha256": sha256(fresh), "bytes": fresh.stat().st_size}
    fresh.replace(config)
    replace(manifest, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="directory of a checkpoint or artifact, which is changed")
    parser.add_argument("--map", required=True, metavar="OLD:NEW,…", help="new names, such as 1:negative,5:positive")


def main(args: argparse.Namespace) -> None:
    print("labels: " + ", ".join(rename_labels(args.model, LabelMap.parse(args.map))))
