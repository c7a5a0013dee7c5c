"""The work on a text grows with its length alone, whatever it says. Counted, not timed."""

import re
from collections.abc import Callable
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import unicodedata2
from hypothesis import example, given
from hypothesis import strategies as st

from app.inference import text as module
from app.inference.text import expands_beyond, normalise

# Marks of every combining class, and characters that become several or begin with one: U+0344, U+0F73, U+FF9E.
MARKS = [char for char in map(chr, range(0x300, 0x1F000)) if unicodedata2.combining(char)]
SEVERAL = ["\u0344", "\u0f73", "\u0f75", "\u0f81", "\uff9e", "\uff9f", "\u1e9b", "\u1fa7", "\u1ea5", "\ufb2c"]
# What is removed or replaced between marks: it must not hide a row of them.
REMOVED = ["\u034f", "\u200d", "\u200b", "\ufe0f", "\U0001f3fd", "\xad", "&#8203;", "&#836;", "&#x316;", "&zwj;"]
OTHERS = ["a", "\u1100", "\u1161", "\u11a8", "\u09c7", "\u09be", "\ufdfa", "\u3316", "<b>", "&amp;", ";", " ", "@a"]

pieces = st.sampled_from(MARKS) | st.sampled_from(SEVERAL) | st.sampled_from(REMOVED) | st.sampled_from(OTHERS)
rows = st.builds(lambda piece, times: piece * times, pieces, st.integers(1, 70))
hostile = st.lists(rows | pieces, max_size=25).map("".join)


def longest_row(text: str) -> int:
    """The number of marks in the longest row of them, once decomposed."""
    marks = "".join(
        "m" if unicodedata2.combining(char) else " " for each in text for char in unicodedata2.normalize("NFKD", each)
    )
    return max(map(len, marks.split()), default=0)


def spied(work: Callable[[], object]) -> list[str]:
    """What `work` gives to NFKC."""
    given_to_nfkc: list[str] = []

    def normalize(form: str, text: str) -> str:
        if form == "NFKC":
            given_to_nfkc.append(text)
        return str(unicodedata2.normalize(form, text))

    spy = SimpleNamespace(normalize=normalize, combining=unicodedata2.combining, category=unicodedata2.category)
    with patch.object(module, "unicodedata", spy):
        work()
    return given_to_nfkc


@given(hostile)
@example("a" + "\u0344" * 4990 + "\u0316" * 4990)
@example("\u1ea5" + "\u0f73" * 14)
@example(("\u0301\u200d" * 20 + "\u0316\U0001f3fd" * 20) * 3)
@example("&#836;" * 40 + "&#790;" * 40)
def test_no_row_of_marks_given_to_nfkc_is_longer_than_thirty(text: str) -> None:
    normalised = normalise(text)
    assert max(map(longest_row, spied(lambda: normalise(text))), default=0) <= 30
    assert longest_row(normalised) <= 30
    assert normalise(normalised) == normalised


@given(hostile)
def test_nfkc_gets_each_character_a_few_times_at_most(text: str) -> None:
    # Of the whole text, again without what is invisible, and both again with the references decoded, each by itself.
    expanded = sum(len(unicodedata2.normalize("NFKC", char)) for char in text)
    assert sum(map(len, spied(lambda: normalise(text)))) <= 6 * expanded


@given(st.text(alphabet=st.sampled_from([*MARKS, *SEVERAL, "a", "\u1100", "\u1161"]), max_size=60))
def test_up_to_thirty_marks_in_a_row_stay(text: str) -> None:
    if longest_row(text) <= 30:
        (limited,) = spied(lambda: module._nfkc(text))
        assert limited == text


def test_thirty_marks_are_kept_and_the_rest_is_dropped() -> None:
    assert normalise("b" + "\u0316" * 40 + "c") == "b" + "\u0316" * 30 + "c"
    assert normalise("b" + "\u0344" * 20) == "b" + "\u0308\u0301" * 15
    assert normalise("\u1e05" + "\u0316" * 40) == "\u1e05" + "\u0316" * 29


def test_every_character_that_may_be_a_mark_is_looked_at() -> None:
    assert re.fullmatch(module._PERHAPS_MARK, "a") is None
    forms = str.maketrans({"\uff9e": "\u3099", "\uff9f": "\u309a"})
    for char in map(chr, range(0x20000)):
        if unicodedata2.combining(unicodedata2.normalize("NFKD", char)[0]):
            assert re.fullmatch(module._PERHAPS_MARK, char.translate(forms)), hex(ord(char))


class Counting:
    """A pattern that counts the characters that it is compared with, up to the end of a match or of the text."""

    def __init__(self, pattern: "re.Pattern[str]") -> None:
        self.pattern = pattern
        self.chars = 0

    def subn(self, replacement: Callable[["re.Match[str]"], str], text: str) -> tuple[str, int]:
        self.chars += len(text)
        return self.pattern.subn(replacement, text)

    def search(self, text: str) -> "re.Match[str] | None":
        self.chars += len(text)
        return self.pattern.search(text)

    def fullmatch(self, text: str) -> "re.Match[str] | None":
        self.chars += len(text)
        return self.pattern.fullmatch(text)


def nested(opening: str, closing: str, other: str = "") -> "st.SearchStrategy[str]":
    parts = st.sampled_from([opening, closing, opening + closing, other, "x", " "])
    return st.lists(st.builds(lambda part, times: part * times, parts, st.integers(1, 50)), max_size=12).map("".join)


@given(nested("<b ", ">", "<z>"))
@example("x" * 1000 + "<b " * 1000 + ">" * 1000)
@example("x<b>" * 1000 + "<b <z>>" * 1000)
def test_a_character_is_compared_with_a_tag_a_few_times_at_most(text: str) -> None:
    counting = Counting(module._TAG)
    with patch.object(module, "_TAG", counting):
        module._replace_tags(text)
    assert counting.chars <= 4 * len(text)


@given(nested("&", "amp;", "&z;"))
@example("&" + "amp;" * 2000)
@example("x" * 1000 + "&#38;lt;" * 1000)
def test_a_character_is_compared_with_a_reference_a_few_times_at_most(text: str) -> None:
    counting = Counting(module._REFERENCE)
    with patch.object(module, "_REFERENCE", counting):
        module._decode_references(text)
    assert counting.chars <= 4 * len(text)


@pytest.mark.parametrize("text", ["<a " + "a=" * 200_000, "<o:" + "a" * 200_000 + "!>", "<br" + " " * 200_000 + "x>"])
def test_a_tag_without_an_end_does_not_backtrack(text: str) -> None:
    """Quadratic time would be minutes here."""
    assert normalise(text) == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "expands"),
    [
        ("\ufdfa" * 56, True),
        ("\ufdfa" * 55, False),
        ("x" * 2000, False),
        ("\uac01" * 1000, False),  # becomes three jamo, and then one syllable again
        ("e\u0301" * 900, False),
        ("\u2026" * 334, True),
    ],
)
def test_a_text_expands_by_its_characters_in_nfkc(text: str, expands: bool) -> None:
    assert expands_beyond(text, 1000) is expands


def test_a_text_that_expands_is_not_normalised_as_a_whole() -> None:
    slices = spied(lambda: expands_beyond("\ufdfa" * 10_000, 20_000))
    assert sum(map(len, slices)) <= 1500
