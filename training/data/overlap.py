"""Texts that occur in two sets: a model must not be trained on what it is measured on."""

import re
from collections.abc import Iterable, Iterator, Sequence

from training.data.table import Example, Table

_PLACEHOLDER = re.compile(r"@user\b|\bhttps?\b\S*")  # as in normalised text, or as in the data
_SENTENCE = 20  # letters, as in "i would buy it again"; shorter texts may occur in unrelated texts by chance


def without(examples: Iterable[Example], held_out: Sequence[Example]) -> list[Example]:
    """Return `examples` without those that equal or contain a text of `held_out`.

    Case, spacing, punctuation, links and mentions are ignored. A held-out text that is shorter than a sentence removes
    only equal texts.
    """
    return list(_without(examples, held_out))


def hold_out(table: Table, held_out: Sequence[Example], name: str) -> Table:
    """Return `table` without rows that equal or contain a text of `held_out`, called `name`; `dropped` says which."""
    return table.keep(_without(table.rows, held_out), f"its text is in {name}, or contains a text of {name}")


def _without(examples: Iterable[Example], held_out: Sequence[Example]) -> Iterator[Example]:
    texts = Texts(letters_of(example.text) for example in held_out)
    for example in examples:
        if next(texts.inside(letters_of(example.text)), None) is None:
            yield example


class Texts:
    """Finds which of many texts occur inside another one. All of them are letters only: see `letters_of`."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._whole = set(texts)
        self._by_start: dict[str, list[str]] = {}
        for text in self._whole:
            if len(text) >= _SENTENCE:
                self._by_start.setdefault(text[:_SENTENCE], []).append(text)

    def inside(self, letters: str) -> Iterator[str]:
        """Yield the texts that equal `letters` and, except for short ones, those that are a part of it."""
        if letters in self._whole:
            yield letters
        for start in range(len(letters) - _SENTENCE + 1):
            for text in self._by_start.get(letters[start : start + _SENTENCE], ()):
                if text != letters and letters.startswith(text, start):
                    yield text


def letters_of(text: str) -> str:
    """Return only the letters and digits of a text, or the text itself if it has none."""
    return "".join(filter(str.isalnum, _PLACEHOLDER.sub("", text.lower()))) or text
