"""Labelled text, from files or from a Hugging Face dataset.

    reviews.tsv, a directory of such files      columns `label` and `text`
    reviews.csv?text=review&label=stars         other columns
    reviews.csv?map=1:negative,5:positive       other names of labels
    reviews.jsonl                               an object a line; `scores`, a teacher's, may stand for the label
    texts.tsv?label=                            text alone
    hub:owner/name?split=test&config=plain      a dataset of the hub, or of a local directory

A set has the name of its file, or of the dataset with its config and split; a JSON object with a `source` says itself
to which set it belongs.
"""

import csv
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import parse_qsl

from app.inference.text import normalise
from training.errors import InputError

LABELS = ("negative", "neutral", "positive")
HUB = "hub:"
_OPTIONS = {"text", "label", "map", "split", "config"}


@dataclass(frozen=True, slots=True)
class Example:
    """A text, its label or a teacher's probability of each label, and the name of the set that it comes from."""

    text: str
    label: str | None
    source: str
    scores: Mapping[str, float] | None = None


def read(
    source: str | Path, labels: Mapping[str, str] | None = None, names: Collection[str] | None = None
) -> list[Example]:
    """Read every example of `source`, see above, with its text normalised as the service does it.

    `labels` maps the names of labels in the data onto the model's, beside the query's `map`. With `names`, any other
    label is an error. Labels are lower-cased, as the model's are. Raises `InputError` naming file and line, or a source
    that has no rows.
    """
    place, options = _split(str(source))
    mapping = {key.lower(): name.lower() for key, name in (dict(labels or {}) | _mapping(options)).items()}
    text, label = options.get("text", "text"), options.get("label", "label")
    examples = []
    for name, where, row, told in _rows(place, options):
        try:
            scores = _scores(told, mapping, names) if told is not None else None
            without = not label or (scores is not None and row.get(label) is None)
            found = None if without else _label(_value(row, label), mapping, names)
            examples.append(Example(_text(_value(row, text)), found, name, scores))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    if not examples:
        raise InputError(f"{source}: no rows")
    return examples


def read_all(sources: Iterable[str | Path], names: Collection[str] | None = None) -> list[Example]:
    """Read several, one after the other."""
    return [example for source in sources for example in read(source, names=names)]


def check_labels(examples: Iterable[Example], labels: Collection[str], whose: str) -> None:
    """Raise `InputError` unless each example has one of `labels`; `whose` they are begins the last clause."""
    for example in examples:
        if example.label not in labels:
            lacking = "a row without label" if example.label is None else f"a row labelled {example.label}"
            raise InputError(f"{example.source}: {lacking}; {whose} {', '.join(labels)}")


def _split(source: str) -> tuple[str, dict[str, str]]:
    """Cut the query off; a file whose name has a question mark is taken by its name."""
    place, mark, query = source.partition("?")
    if not mark or Path(source).exists():
        return source, {}
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(options.keys() - _OPTIONS):
        raise InputError(f"{source}: no option {', '.join(unknown)}; there are {', '.join(sorted(_OPTIONS))}")
    return place, options


def _mapping(options: Mapping[str, str]) -> dict[str, str]:
    """`0:negative,1:positive` as a mapping."""
    pairs = [pair.rpartition(":") for pair in options.get("map", "").split(",") if pair]
    if wrong := [name or key for key, _, name in pairs if not key or not name]:
        raise InputError(f"map={options['map']}: expected theirs:ours, not {wrong[0]}")
    return {key.strip(): name.strip() for key, _, name in pairs}


def _rows(place: str, options: Mapping[str, str]) -> Iterator[tuple[str, str, dict[str, Any], Any]]:
    """Yield the name of the set, where the row stands, the row, and a teacher's scores if it has any."""
    if place.startswith(HUB):
        yield from _hub(place.removeprefix(HUB), options)
        return
    path = Path(place)
    files = sorted(file for file in path.iterdir() if file.suffix in _FORMATS) if path.is_dir() else [path]
    if not files or files[0].suffix not in _FORMATS:
        raise InputError(f"{path}: expected {', '.join(_FORMATS)}, or a directory of such files")
    for file in files:
        # A signature that some editors write before the first column would become part of its name.
        with file.open(encoding="utf-8-sig", newline="") as stream:
            try:
                for line, row in _FORMATS[file.suffix](stream):
                    # In other people's tables columns of these names mean other things.
                    ours = row if file.suffix == ".jsonl" else {}
                    yield str(ours.get("source") or file.stem), f"{file}, line {line}", row, ours.get("scores")
            except InputError as error:
                raise InputError(f"{file}, {error}") from None
            except UnicodeDecodeError as error:
                raise InputError(f"{file}: not UTF-8 ({error.reason}); save it as that") from None


def _delimited(reader: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise csv.Error(f"two columns have one name: {', '.join(header)}")
        for fields in reader:
            if fields and len(fields) != len(header):
                raise csv.Error(f"{len(fields)} fields where the header has {len(header)}")
            if fields:
                yield reader.line_num, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise InputError(f"line {reader.line_num}: {error}") from None


def _tsv(stream: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    return _delimited(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def _csv(stream: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    return _delimited(csv.reader(stream, strict=True))


def _jsonl(stream: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, content in enumerate(stream, 1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except ValueError as error:
            raise InputError(f"line {line}: not valid JSON: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"line {line}: not a JSON object")
        yield line, row


_FORMATS = {".tsv": _tsv, ".csv": _csv, ".jsonl": _jsonl}


def _hub(name: str, options: Mapping[str, str]) -> Iterator[tuple[str, str, dict[str, Any], None]]:
    try:
        from datasets import load_dataset  # a second to import, and of no use to whoever has files
    except ModuleNotFoundError as error:
        raise InputError(f"{HUB}{name}: needs the package datasets: pip install 'rt-sentiment[train]'") from error

    split, config = options.get("split", "train"), options.get("config")
    try:
        rows = load_dataset(name, config, split=split)
    except ValueError as error:  # of a config or a split that there is not
        raise InputError(f"{HUB}{name}: {error}") from error
    source = "-".join(part for part in (Path(name).name, config, split) if part)
    column = options.get("label", "label")
    classes = getattr(rows.features.get(column), "names", None)
    for number, row in enumerate(rows, 1):
        if classes and row[column] is not None:
            # -1 marks the rows of a test set whose labels are kept secret.
            row[column] = classes[row[column]] if row[column] >= 0 else None
        yield source, f"{HUB}{name}, row {number} of {split}", row, None


def _value(row: Mapping[str, Any], column: str) -> Any:
    if column not in row:
        raise InputError(f"no column {column}; there are {', '.join(row)}")
    if row[column] is None:
        raise InputError(f"nothing in column {column}")
    return row[column]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InputError("the text is no string")
    text = normalise(value.replace("<br />", " "))
    if not text:
        raise InputError("the text has no visible character")
    return text


def _label(value: Any, mapping: Mapping[str, str], names: Collection[str] | None) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # what a column of integers becomes where one of them is missing
    return _known(str(value), mapping, names)


def _known(label: str, mapping: Mapping[str, str], names: Collection[str] | None) -> str:
    name = label.strip().lower()
    name = mapping.get(name, name)
    if not name or (names is not None and name not in names):
        known = f"; there are {', '.join(names)} (other names: map=theirs:ours)" if names else ""
        raise InputError(f"no such label: {label!r}{known}")
    return name


def _scores(value: Any, mapping: Mapping[str, str], names: Collection[str] | None) -> dict[str, float]:
    """The probabilities by label; those of labels that are mapped onto the same one are added up."""
    if not isinstance(value, dict) or not value:
        raise InputError("scores must be an object: label to probability")
    scores: dict[str, float] = {}
    for label, score in value.items():
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise InputError(f"the score of {label} is no probability")
        name = _known(label, mapping, names)
        scores[name] = scores.get(name, 0.0) + score
    if not math.isclose(sum(scores.values()), 1, abs_tol=0.01):
        raise InputError(f"the scores sum to {sum(scores.values()):g}, not to 1")
    return scores
