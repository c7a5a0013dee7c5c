"""Training rows that equal or contain a text that is measured on."""

import pytest

from training.data import Example, Table, hold_out, without


def test_held_out_texts_are_left_out_in_any_spelling() -> None:
    examples = [Example(text, "neutral", "set") for text in ("It 's  HERE .", "It was here.", "😀", "😡")]
    held_out = [Example(text, "neutral", "dev") for text in ("it's here", "😀")]
    assert [example.text for example in without(examples, held_out)] == ["It was here.", "😡"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Hope the pope heard about it @user https://example.org/a", False),
        ("they told me: it doesn't get any better than this, and so it was", False),
        ("It doesn't get any better than that.", True),
        ("They said so twice.", True),  # "so" is too short to search for inside other texts
        ("so", False),
    ],
)
def test_texts_that_contain_a_held_out_text_are_left_out(text: str, kept: bool) -> None:
    texts = ("Hope the Pope heard about it http", "It doesn't get any better than this.", "So!")
    held_out = [Example(each, "neutral", "dev") for each in texts]
    assert bool(without([Example(text, "neutral", "set")], held_out)) is kept


def test_rows_that_are_held_out_are_named_with_their_lines() -> None:
    rows = [Example(text, "x", "a", line=line) for line, text in ((2, "Kept."), (3, "Gone!"), (5, "gone"))]
    table = hold_out(Table("a.csv", rows), [Example("Gone.", "x", "dev")], "dev.csv")
    assert [row.text for row in table] == ["Kept."]
    assert [(each.line, each.reason) for each in table.dropped] == [
        (3, "its text is in dev.csv, or contains a text of dev.csv"),
        (5, "its text is in dev.csv, or contains a text of dev.csv"),
    ]
    assert table.read == 3
