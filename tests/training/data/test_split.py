"""Rows to train on and rows to measure on."""

from collections import Counter

import pytest

from training.data import Example, all_alike, default_dev_share, folds, labels_of, split, without
from training.errors import InputError


def rows_of(**counts: int) -> list[Example]:
    return [Example(f"{label} number {n}", label, "set") for label, count in counts.items() for n in range(count)]


def texts(rows: list[Example]) -> set[str]:
    return {row.text for row in rows}


def test_each_label_has_its_share_of_both_sides() -> None:
    train, dev = split(rows_of(a=100, b=50, c=10), seed=1, dev_share=0.2)
    assert Counter(row.label for row in dev) == {"a": 20, "b": 10, "c": 2}
    assert Counter(row.label for row in train) == {"a": 80, "b": 40, "c": 8}


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_a_rare_label_is_on_both_sides(count: int) -> None:
    train, dev = split(rows_of(common=200, rare=count), seed=1, dev_share=0.1)
    assert {row.label for row in train} == {row.label for row in dev} == {"common", "rare"}


def test_a_label_with_one_text_is_trained_on() -> None:
    train, dev = split([*rows_of(common=20), *[Example("only", "single", "set")] * 3], seed=1, dev_share=0.2)
    assert Counter(row.label for row in train)["single"] == 3
    assert {row.label for row in dev} == {"common"}


def test_a_text_in_any_spelling_is_on_one_side() -> None:
    rows = [
        Example(spelling, label, "set")
        for n in range(40)
        for label in ("a", "b")
        for spelling in (f"Text {n}!", f"text   {n}", f"TEXT {n}.")
    ]
    train, dev = split(rows, seed=3, dev_share=0.2)
    numbers = [{row.text.split()[1].rstrip("!.") for row in side} for side in (train, dev)]
    assert not numbers[0] & numbers[1]
    assert len(train) + len(dev) == len(rows)


def test_labels_whose_texts_contain_the_same_one_are_found() -> None:
    ticket = "the printer does not find the network"
    alike = [Example(text, "it", "set") for text in (ticket, f"Hello, {ticket}", f"{ticket}, please help!")]
    two = [Example(f"{ticket} {n}", "two", "set") for n in range(2)]
    assert all_alike([*alike, *two, *rows_of(a=5)]) == {"it": 3}
    assert all_alike([*alike, Example("something else", "it", "set")]) == {}
    # Texts that only belong together because another one contains both are not alike.
    parts = ("it never finds the network", "the paper tray is always open", "")
    chain = [Example(text, "it", "set") for text in (*parts[:2], f"{parts[0]} and {parts[1]}")]
    assert all_alike(chain) == {}


def test_a_text_that_contains_another_one_is_on_its_side() -> None:
    """Otherwise it would have to be dropped."""
    rows = []
    for n in range(40):
        rows += [Example(f"please cancel my order number {n} again", "cancel", "set")]
        rows += [Example(f"Hello! Please cancel my order, number {n} again, thanks.", "cancel", "set")]
        rows += [Example(f"where is my parcel {n}", "track", "set")]
    train, dev = split(rows, seed=1, dev_share=0.2)
    assert len(dev) == 24
    assert without(train, dev) == train


def test_a_label_whose_texts_all_belong_together_is_on_both_sides() -> None:
    texts_of_label = ["please cancel my order", *(f"please cancel my order {n}" for n in range(9))]
    rows = [*rows_of(other=20), *(Example(text, "cancel", "set") for text in texts_of_label)]
    train, dev = split(rows, seed=1, dev_share=0.2)
    assert {row.label for row in train} == {row.label for row in dev} == {"other", "cancel"}


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_labels_stays(seed: int) -> None:
    rows = [row for pair in zip(rows_of(b=9), rows_of(a=9), rows_of(c=9), strict=True) for row in pair]
    assert labels_of(split(rows, seed=seed)[0]) == labels_of(rows) == ("b", "a", "c")


def test_the_seed_decides_and_hardly_the_order_of_rows() -> None:
    rows = rows_of(a=50, b=50)
    first, again = split(rows, seed=1), split(rows[::-1], seed=1)
    assert len(texts(first[1]) & texts(again[1])) >= 18  # of 20; the first row of a label is never among them
    assert first == split(rows, seed=1)
    assert texts(first[1]) != texts(split(rows, seed=2)[1])


def test_more_rows_move_few_of_the_old_ones() -> None:
    before, after = (split(rows_of(a=count), seed=1, dev_share=0.2)[1] for count in (500, 520))
    assert len(texts(before) & texts(after)) > 85


def test_ninety_rows_leave_enough_to_measure_on() -> None:
    train, dev = split(rows_of(a=30, b=30, c=30))
    assert (len(train), len(dev)) == (72, 18)


@pytest.mark.parametrize(("rows", "dev"), [(90, 18), (2000, 400), (4000, 400), (10_000, 1000), (100_000, 5000), (0, 0)])
def test_the_default_share_depends_on_the_number_of_rows(rows: int, dev: int) -> None:
    assert round(default_dev_share(rows) * rows) == dev


def test_rows_without_a_label_are_only_trained_on() -> None:
    scored = [Example(f"scored {n}", None, "set", {"a": 1.0}) for n in range(20)]
    train, dev = split([*rows_of(a=20), *scored], dev_share=0.5)
    assert {row.label for row in dev} == {"a"}
    assert sum(row.label is None for row in train) == 20


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2.0])
def test_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="must be between 0 and 1"):
        split(rows_of(a=9), dev_share=share)


def test_one_text_cannot_be_divided() -> None:
    with pytest.raises(InputError, match="too few different texts"):
        split([Example("Same", "a", "set"), Example("same!", "a", "set")])


def test_folds_measure_each_row_once() -> None:
    rows = [*rows_of(a=50, b=20, rare=5), *rows_of(a=50)]  # each `a` twice
    parts = list(folds(rows, count=5, seed=1))
    assert sum(len(dev) for _, dev in parts) == len(rows)
    assert texts([row for _, dev in parts for row in dev]) == texts(rows)
    for train, dev in parts:
        assert not texts(train) & texts(dev)
        assert Counter(row.label for row in dev) == {"a": 20, "b": 4, "rare": 1}


@pytest.mark.parametrize("count", [0, 1, 9])
def test_too_many_folds_are_refused(count: int) -> None:
    with pytest.raises(InputError, match="folds"):
        list(folds(rows_of(a=4, b=4), count=count))
