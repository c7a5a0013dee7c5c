"""Labelled text from files or from a Hugging Face dataset.

A source is one of:

    reviews.tsv                               a file with the columns `label` and `text`
    folder                                    a directory of such files
    reviews.csv?text=review&label=stars       other column names
    reviews.csv?map=1:negative,5:positive     other label names
    reviews.jsonl                             one JSON object per line; a teacher's `scores` may replace the label
    texts.tsv?label=                          text without labels
    hub:owner/name?split=test&config=plain    a dataset from the hub, or from a local directory

A set has the name of its file, or of its dataset with config and split. In JSON lines, `source` names the set of a row.
"""

import csv
import json
import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import parse_qsl

from app.inference.text import normalise
from training.errors import InputError

LABELS = ("negative", "neutral", "positive")
HUB = "hub:"
# Without leading zeros, which would make it a code.
_INTEGER = re.compile(r"([+-]?(?:0|[1-9][0-9]{0,99}))(?:\.0*)?")
_MISSING = {"nan", "null", "inf", "infinity"}
_OPTIONS = {"text", "label", "map", "split", "config"}


@dataclass(frozen=True, slots=True)
class Example:
    """A text with its label, or with a teacher's probability of each label; `source` is the name of its set."""

    text: str
    label: str | None
    source: str
    scores: Mapping[str, float] | None = None


def read(
    source: str | Path, labels: Mapping[str, str] | None = None, names: Collection[str] | None = None
) -> list[Example]:
    """Read every example of `source`. Texts are normalised as in the service, labels are lower-cased.

    Integers that are written as decimals are one label: 1, `1`, 1.0 and `1.0`. But `1.10` is not `1.1`.
    `labels` maps label names in the data to the model's, in addition to `map` in the query. With `names`, any other
    label is an error. Raises `InputError` with file and line, or if the source has no rows.
    """
    location, options = _split(str(source))
    mapping = {_name(key): _name(name) for key, name in (dict(labels or {}) | _mapping(options)).items()}
    text_column, label_column = options.get("text", "text"), options.get("label", "label")
    examples = []
    for set_name, position, row, raw_scores in _rows(location, options):
        try:
            scores = _scores(raw_scores, mapping, names) if raw_scores is not None else None
            unlabelled = not label_column or (scores is not None and row.get(label_column) is None)
            label = None if unlabelled else _label(_value(row, label_column), mapping, names)
            examples.append(Example(_text(_value(row, text_column)), label, set_name, scores))
        except InputError as error:
            raise InputError(f"{position}: {error}") from None
    if not examples:
        raise InputError(f"{source}: no rows")
    return examples


def read_all(sources: Iterable[str | Path], names: Collection[str] | None = None) -> list[Example]:
    return [example for source in sources for example in read(source, names=names)]


def check_labels(examples: Iterable[Example], labels: Collection[str], owner: str) -> None:
    """Raise `InputError` unless each example has one of `labels`.

    `owner` begins the list of labels in the message, for example "the model has".
    """
    for example in examples:
        if example.label not in labels:
            problem = "a row without a label" if example.label is None else f"a row with the label {example.label}"
            raise InputError(f"{example.source}: {problem}; {owner} {', '.join(labels)}")


def _split(source: str) -> tuple[str, dict[str, str]]:
    """Split a source into location and options. An existing file with a question mark in its name has no options."""
    location, mark, query = source.partition("?")
    if not mark or Path(source).exists():
        return source, {}
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(options.keys() - _OPTIONS):
        raise InputError(f"{source}: unknown option {', '.join(unknown)}; use {', '.join(sorted(_OPTIONS))}")
    return location, options


def _mapping(options: Mapping[str, str]) -> dict[str, str]:
    """Parse `map`: `0:negative,1:positive`."""
    pairs = [pair.rpartition(":") for pair in options.get("map", "").split(",") if pair]
    if wrong := [name or key for key, _, name in pairs if not key or not name]:
        raise InputError(f"map={options['map']}: expected theirs:ours, not {wrong[0]}")
    return {key.strip(): name.strip() for key, _, name in pairs}


def _rows(location: str, options: Mapping[str, str]) -> Iterator[tuple[str, str, dict[str, Any], Any]]:
    """Yield the name of the set, the position for error messages, the row, and a teacher's scores or None."""
    if location.startswith(HUB):
        yield from _hub(location.removeprefix(HUB), options)
        return
    path = Path(location)
    files = sorted(file for file in path.iterdir() if file.suffix in _FORMATS) if path.is_dir() else [path]
    if not files or files[0].suffix not in _FORMATS:
        raise InputError(f"{path}: expected {', '.join(_FORMATS)}, or a directory of such files")
    for file in files:
        # utf-8-sig: some editors write a byte order mark, which would become part of the first column's name.
        with file.open(encoding="utf-8-sig", newline="") as stream:
            try:
                for line, row in _FORMATS[file.suffix](stream):
                    # Only JSON lines are our own format: elsewhere, columns of these names mean other things.
                    own = row if file.suffix == ".jsonl" else {}
                    yield str(own.get("source") or file.stem), f"{file}, line {line}", row, own.get("scores")
            except InputError as error:
                raise InputError(f"{file}, {error}") from None
            except UnicodeDecodeError as error:
                raise InputError(f"{file}: not UTF-8 ({error.reason}); convert it to UTF-8") from None


def _delimited(reader: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise csv.Error(f"two columns have the same name: {', '.join(header)}")
        for fields in reader:
            if fields and len(fields) != len(header):
                raise csv.Error(f"{len(fields)} fields, but the header has {len(header)}")
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
        from datasets import load_dataset  # takes a second to import; only `hub:` sources need it
    except ModuleNotFoundError as error:
        raise InputError(
            f"{HUB}{name}: the package datasets is missing; run `pip install 'rt-sentiment[train]'`"
        ) from error

    split, config = options.get("split", "train"), options.get("config")
    try:
        rows = load_dataset(name, config, split=split)
    except ValueError as error:  # no such config or split
        raise InputError(f"{HUB}{name}: {error}") from error
    source = "-".join(part for part in (Path(name).name, config, split) if part)
    column = options.get("label", "label")
    classes = getattr(rows.features.get(column), "names", None)
    for number, row in enumerate(rows, 1):
        if classes and row[column] is not None:
            # -1 marks the rows of a test set whose labels are not published.
            row[column] = classes[row[column]] if row[column] >= 0 else None
        yield source, f"{HUB}{name}, row {number} of {split}", row, None


def _value(row: Mapping[str, Any], column: str) -> Any:
    if column not in row:
        raise InputError(f"no column {column}; the columns are {', '.join(row)}")
    if row[column] is None:
        raise InputError(f"column {column} is empty")
    return row[column]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InputError("the text is not a string")
    text = normalise(value)
    if not text:
        raise InputError("the text has no visible character")
    return text


def _label(value: Any, mapping: Mapping[str, str], names: Collection[str] | None) -> str:
    if not isinstance(value, str | int | float):
        raise InputError(f"the label is a {type(value).__name__}, not a name or a number")
    # Without an exponent, so that numbers in JSON with the same value are the same label.
    name = f"{value:.1f}" if isinstance(value, float) and value.is_integer() else str(value)
    return _map_label(name, mapping, names)


def _map_label(label: str, mapping: Mapping[str, str], names: Collection[str] | None) -> str:
    name = _name(label)
    as_written = label.strip().lower()
    name = mapping.get(name) or (as_written if as_written in (names or ()) else name)
    if not name or (names is not None and name not in names):
        hint = f"; use {', '.join(names)}, or translate other names with map=theirs:ours" if names else ""
        raise InputError(f"unknown label {label!r}{hint}")
    if names is None and name.lstrip("+-") in _MISSING:
        raise InputError(f"the label {label!r} stands for a missing value; if it is a class, use map={name}:other-name")
    return name


def _name(label: str) -> str:
    """Return the one form of a label that may be written in several: ` Positive`, or 1 as `1.0`."""
    visible = "".join(char for char in unicodedata.normalize("NFKC", label) if unicodedata.category(char) != "Cf")
    name = " ".join(visible.lower().split())
    # A column of integers becomes one of floats if a value is missing.
    integer = _INTEGER.fullmatch(name)
    return str(int(integer[1])) if integer else name


def _scores(value: Any, mapping: Mapping[str, str], names: Collection[str] | None) -> dict[str, float]:
    """Return the probability of each label. Labels that map to the same name are added up."""
    if not isinstance(value, dict) or not value:
        raise InputError("scores must be an object that maps labels to probabilities")
    scores: dict[str, float] = {}
    for label, score in value.items():
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise InputError(f"the score of {label} is not a probability")
        name = _map_label(label, mapping, names)
        scores[name] = scores.get(name, 0.0) + score
    if not math.isclose(sum(scores.values()), 1, abs_tol=0.01):
        raise InputError(f"the scores sum to {sum(scores.values()):g}, not to 1")
    return scores
