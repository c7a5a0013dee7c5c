"""Divide rows into those to train on and those to measure on.

Every label has about the same share of both. Rows with the same text, in any spelling, stay together, as do rows that
contain the text of another one: a model that has seen a text would be measured on its memory.
"""

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from training.data.arguments import add_layout_arguments, read_tables
from training.data.overlap import Texts, letters_of, without
from training.data.table import Example
from training.errors import InputError, UsageError
from training.files import atomic_output

_ALIKE = 3  # rows of a label that show that its texts are alike
_MOST_DEV_ROWS = 5000  # more would make an evaluation slow, and hardly more precise
_Group = list[int]  # places of rows that belong together


def default_dev_share(rows: int) -> float:
    """Return the share to measure on: a fifth of few rows, a tenth of many, and at most 5 000 rows."""
    return min(0.2 * rows, max(400, 0.1 * rows), _MOST_DEV_ROWS) / rows if rows else 0.0


def split(
    table: Iterable[Example], *, seed: int = 7, dev_share: float | None = None
) -> tuple[list[Example], list[Example]]:
    """Return the rows to train on and those to measure on, each in their old order.

    A label with at least two different texts is on both sides, unless they belong to texts of another label. One with
    a single text is only trained on, as are rows without a label. The place of a row depends on its text and the seed,
    so that most rows keep their place if others are added. Raises `UsageError` for a share that is not between 0 and 1,
    and `InputError` if there is nothing to measure on.
    """
    rows = list(table)
    share = default_dev_share(len(rows)) if dev_share is None else dev_share
    if not 0 < share < 1:
        raise UsageError(f"the share to measure on must be between 0 and 1, not {share:g}")
    chosen: set[int] = set()
    for label, groups in _groups(rows, seed).items():
        if label is not None:
            chosen |= _choose(groups, share)
    if not chosen:
        raise InputError("there are too few different texts to set some aside to measure on")
    return _divide(rows, chosen)


def all_alike(rows: Sequence[Example]) -> dict[str, int]:
    """Return the labels, with their rows, of which all texts contain the same one: a model is measured on one thing."""
    by_label: dict[str, list[Example]] = {}
    for row in rows:
        if row.label is not None:
            by_label.setdefault(row.label, []).append(row)
    return {
        label: len(own)
        for label, own in by_label.items()
        if len(own) >= _ALIKE and not without(own, [min(own, key=lambda row: len(letters_of(row.text)))])
    }


def folds(table: Iterable[Example], *, count: int, seed: int = 7) -> Iterator[tuple[list[Example], list[Example]]]:
    """Yield `count` splits, in which each row with a label is measured on once.

    Raises `InputError` for too few rows.
    """
    if count < 2:
        raise InputError(f"{count} folds: at least two are needed")
    rows = list(table)
    members: list[set[int]] = [set() for _ in range(count)]
    start = 0
    for label, groups in _groups(rows, seed).items():
        if label is None:
            continue
        sizes = [0] * count
        for group in groups:
            # Labels take turns in which fold they fill first, so that rare ones do not all go to the first fold.
            fold = min(range(count), key=lambda each: (sizes[each], (each - start) % count))
            members[fold].update(group)
            sizes[fold] += len(group)
        start += len(groups)
    if not all(members):
        raise InputError(f"{count} folds need at least as many different texts")
    for chosen in members:
        yield _divide(rows, chosen)


def _groups(rows: list[Example], seed: int) -> dict[str | None, list[_Group]]:
    """Return the rows that belong together, by the label that most of them have, in an order that looks random."""
    by_text: dict[str, _Group] = {}
    for place, row in enumerate(rows):
        by_text.setdefault(letters_of(row.text), []).append(place)
    by_label: dict[str | None, list[str]] = {}
    families = _families(by_text)
    for first, texts in families.items():
        labels = Counter(
            rows[place].label for text in texts for place in by_text[text] if rows[place].label is not None
        )
        by_label.setdefault(labels.most_common(1)[0][0] if labels else None, []).append(first)
    groups: dict[str | None, list[_Group]] = {}
    for label, firsts in by_label.items():
        # Texts of a label that all belong together are divided nevertheless: the label would not be measured.
        parts = [families[first] for first in firsts] if len(firsts) > 1 else [[text] for text in families[firsts[0]]]
        parts.sort(key=lambda texts: hashlib.sha256(f"{seed} {min(texts)}".encode()).digest())
        groups[label] = [sorted(place for text in texts for place in by_text[text]) for texts in parts]
    return groups


def _families(texts: Collection[str]) -> dict[str, list[str]]:
    """Return texts that contain each other as a part, by one of them: a training must not see a part of another row."""
    parent = {text: text for text in texts}

    def root(text: str) -> str:
        while parent[text] != text:
            parent[text] = text = parent[parent[text]]
        return text

    index = Texts(texts)
    for text in texts:
        for part in index.inside(text):
            parent[root(part)] = root(text)
    families: dict[str, list[str]] = {}
    for text in texts:
        families.setdefault(root(text), []).append(text)
    return families


def _choose(groups: list[_Group], share: float) -> set[int]:
    """Return the rows of one label to measure on.

    The first row of a label stays with those to train on, so that the order of the labels is that of the whole table.
    """
    if len(groups) < 2:
        return set()
    first = min(groups)
    wanted = max(1, round(sum(map(len, groups)) * share))
    chosen: list[_Group] = []
    size = 0
    for group in groups:
        if group is not first and size + len(group) <= wanted:
            chosen.append(group)
            size += len(group)
    smallest = min((group for group in groups if group is not first), key=len)
    return {place for group in chosen or [smallest] for place in group}


def _divide(rows: list[Example], chosen: set[int]) -> tuple[list[Example], list[Example]]:
    # A text may have two labels; a row without a label cannot be measured on, and would give the text away.
    train = [row for place, row in enumerate(rows) if place not in chosen]
    dev = [row for place, row in enumerate(rows) if place in chosen and row.label is not None]
    return train, dev


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="+", metavar="SOURCE", help="labelled text (formats: docs/training.md)")
    parser.add_argument("--out", type=Path, required=True, help="new directory for train.jsonl and dev.jsonl")
    parser.add_argument("--share", type=float, help="share of the rows for dev.jsonl (default: by their number)")
    parser.add_argument("--seed", type=int, default=7, help="seed of the random choices (default: %(default)s)")
    add_layout_arguments(parser)


def main(args: argparse.Namespace) -> None:
    parts = split(read_tables(args.data, args), seed=args.seed, dev_share=args.share)
    with atomic_output(args.out) as directory:
        directory.mkdir(parents=True, exist_ok=True)
        for name, rows in zip(("train", "dev"), parts, strict=True):
            (directory / f"{name}.jsonl").write_text("".join(map(_line, rows)), encoding="utf-8")
    print(f"{len(parts[0]):,} rows in {args.out}/train.jsonl, {len(parts[1]):,} in {args.out}/dev.jsonl")


def _line(row: Example) -> str:
    content = {"text": row.text, "label": row.label, "source": row.source}
    return json.dumps(content | ({"scores": row.scores} if row.scores else {}), ensure_ascii=False) + "\n"
