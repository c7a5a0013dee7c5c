"""Labelled text, from files."""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.text import normalise

LABELS = ("negative", "neutral", "positive")


@dataclass(frozen=True, slots=True)
class Example:
    """A text, its label, the name of the set that it comes from, and a teacher's probability of each label."""

    text: str
    label: str | None
    source: str
    scores: Mapping[str, float] | None = None


def read(path: Path) -> list[Example]:
    """Read a tab-separated file with the header `label<TAB>text`, or every such file of a directory."""
    if path.suffix == ".jsonl":
        with path.open(encoding="utf-8") as file:
            return [
                Example(_clean(row["text"]), row.get("label"), row.get("source", path.stem), row.get("scores"))
                for row in map(json.loads, file)
            ]
    if path.is_dir():
        return [example for file in sorted(path.glob("*.tsv")) for example in read(file)]
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if reader.fieldnames != ["label", "text"]:
            raise ValueError(f"{path}: expected the columns label and text, not {reader.fieldnames}")
        return [Example(_clean(row["text"]), row["label"], path.stem) for row in reader]


def read_all(sources: Iterable[str]) -> list[Example]:
    """Read several, one after the other."""
    return [example for source in sources for example in read(Path(source))]


def _clean(text: str) -> str:
    return normalise(text.replace("<br />", " "))
