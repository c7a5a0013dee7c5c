"""`python -m training rename-labels`: give the labels of a checkpoint or artifact other names.

Only names change: the model, its scores and the order of its labels stay.
"""

import argparse
import hashlib
import json
from dataclasses import replace as replace_fields
from pathlib import Path

from app.inference.artifact import Artifact, open_artifact
from app.inference.checkpoint import KEEP_LABEL_CASE
from app.inference.development import read_development
from app.inference.files import GOLDEN, MANIFEST
from app.inference.golden import read_golden, render_golden
from training.data import LabelMap, label_key
from training.errors import InputError
from training.files import read_json, replace

_CONFIG = "config.json"


def rename_labels(model: Path, names: LabelMap) -> tuple[str, ...]:
    """Rename labels of `model` and return all of its labels. Those that `names` does not list stay.

    In an artifact, its golden texts and development distributions get the new names, and its digest changes. Raises
    `InputError` for a label that the model does not have, or if two labels would be equal.
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
    if artifact.manifest:
        _replace_all(artifact, dict(zip(old, new, strict=True)), content)
    else:
        replace(file, content)
    return open_artifact(str(artifact.directory)).labels


def _replace_all(artifact: Artifact, names: dict[str, str], config: str) -> None:
    """Replace the config of an artifact, the labels of its golden texts and of its development distributions.

    Before the manifest is replaced, too, the artifact is refused as corrupt.
    """
    contents = {_CONFIG: config}
    if golden := read_golden(artifact):
        contents[GOLDEN] = render_golden(replace_fields(each, label=names[each.label]) for each in golden)
    record = read_json(artifact.directory / MANIFEST)
    if development := read_development(artifact):
        labels = {names[label]: share for label, share in development.labels.items()}
        record["development"] = replace_fields(development, labels=labels).render()
    for name, content in contents.items():
        encoded = content.encode()
        record["files"][name] = {"sha256": hashlib.sha256(encoded).hexdigest(), "bytes": len(encoded)}
    for name, content in contents.items():
        replace(artifact.directory / name, content)
    replace(artifact.directory / MANIFEST, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="directory of a checkpoint or artifact, which is changed")
    parser.add_argument("--map", required=True, metavar="OLD:NEW,…", help="new names, such as 1:negative,5:positive")


def main(args: argparse.Namespace) -> None:
    print("labels: " + ", ".join(rename_labels(args.model, LabelMap.parse(args.map))))
