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

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from training.data.columns import Choice, choose_columns
from training.data.labels import LabelMap, respell
from training.data.parsing import make_table, read_table
from training.data.reading import SUFFIXES, Record, is_data
from training.data.table import Example, Table, join_tables
from training.errors import InputError

HUB = "hub:"
_NOT_DATA = {"*.onnx": "a model", "*.safetensors": "a model", "history.jsonl": "the directory of a training"}
_OPTIONS = {"text", "label", "map", "other", "split", "config"}


def read(
    source: str | Path, labels: Mapping[str, str] | None = None, names: Collection[str] | None = None
) -> list[Example]:
    """Read every example of `source`.

    `labels` maps label names in the data to the model's, and leaves others as they are. With `names`, any other label
    is an error. Raises `InputError` with file and line of every row that cannot be used, or if the source has no rows.
    """
    return read_source(source, label_map=LabelMap.of(labels) if labels else None, names=names).check().rows


def read_all(sources: Iterable[str | Path], names: Collection[str] | None = None) -> list[Example]:
    """Read several sources as `read` does. A label has the same spelling in all of them."""
    tables = [read_source(source, names=names).check() for source in sources]
    return join_tables(tables).rows if tables else []


def read_source(
    source: str | Path,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    label_map: LabelMap | None = None,
    names: Collection[str] | None = None,
    **layout: Any,
) -> Table:
    """Read a source. Options in its query come before the arguments; `layout` is for `read_table`."""
    location, options = _split(str(source))
    text_column, label_column = options.get("text", text_column), options.get("label", label_column)
    label_map = _mapping(options) or label_map
    if location.startswith(HUB):
        choose = {"text": text_column, "label": label_column}
        return _hub(location.removeprefix(HUB), options | choose, label_map=label_map, names=names)
    path = Path(location)
    if kind := next((kind for pattern, kind in _NOT_DATA.items() if path.is_dir() and any(path.glob(pattern))), ""):
        raise InputError(f"{path} is {kind}, not labelled text; name a file, or a directory of such files")
    files = sorted(filter(is_data, path.iterdir())) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: expected {', '.join(SUFFIXES)}, or a directory of such files")
    return join_tables(
        [
            read_table(
                file, text_column=text_column, label_column=label_column, label_map=label_map, names=names, **layout
            )
            for file in files
        ]
    )


def check_labels(examples: Iterable[Example], labels: Collection[str], owner: str) -> list[Example]:
    """Return `examples` with labels as `labels` spells them.

    Raises `InputError` for a row without a label, or with another one. `owner` begins the list of labels in the
    message, for example "the model has".
    """
    spelt = {label: label for label in labels}
    rows = []
    for example in examples:
        if example.label is None:
            raise InputError(f"{example.source}: a row without a label; {owner} {', '.join(labels)}")
        name = spelt.setdefault(example.label, respell(example.label, labels) or "")
        if not name:
            raise InputError(f"{example.source}: a row with the label {example.label}; {owner} {', '.join(labels)}")
        rows.append(example if name == example.label else replace(example, label=name))
    return rows


def _split(source: str) -> tuple[str, dict[str, str]]:
    """Split a source into location and options. An existing file with a question mark in its name has no options."""
    location, mark, query = source.partition("?")
    if not mark or Path(source).exists():
        return source, {}
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(options.keys() - _OPTIONS):
        raise InputError(f"{source}: unknown option {', '.join(unknown)}; use {', '.join(sorted(_OPTIONS))}")
    return location, options


def _mapping(options: Mapping[str, str]) -> LabelMap | None:
    other = f",other={options['other']}" if "other" in options else ""
    return LabelMap.parse(options.get("map", "") + other) or None


def _hub(
    name: str,
    options: Mapping[str, str | None],
    *,
    label_map: LabelMap | None,
    names: Collection[str] | None,
) -> Table:
    try:
        from datasets import load_dataset  # takes a second to import; only `hub:` sources need it
    except ModuleNotFoundError as error:
        raise InputError(
            f"{HUB}{name}: the package datasets is missing; run `pip install 'rt-sentiment[train]'`"
        ) from error

    split, config = options.get("split") or "train", options.get("config")
    try:
        rows = load_dataset(name, config, split=split)
    except ValueError as error:  # no such config or split
        raise InputError(f"{HUB}{name}: {error}") from error
    where = f"{HUB}{name}, {split}"
    choice = choose_columns(list(rows.column_names), options["text"], options["label"], where)
    classes = getattr(rows.features.get(choice.label), "names", None)
    set_name = "-".join(part for part in (Path(name).name, config, split) if part)
    records = _hub_records(rows, choice, classes)
    table = make_table(where, records, choice, set_name, label_map=label_map, names=names, own=False)
    return replace(table, unit="row")


def _hub_records(rows: Iterable[dict[str, Any]], choice: Choice, classes: Sequence[str] | None) -> Iterator[Record]:
    for number, row in enumerate(rows, 1):
        if classes and row[choice.label] is not None:
            # -1 marks the rows of a test set whose labels are not published.
            index = row[choice.label]
            row[choice.label] = classes[index] if index >= 0 else None
        yield Record(number, row, "")
