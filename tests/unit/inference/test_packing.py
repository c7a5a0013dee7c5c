"""Texts in the rows of a batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference.packing import pack, pad
from app.types import Encoding


def encoding(*ids: int) -> Encoding:
    return Encoding(ids, truncated=False)


def of_length(length: int) -> Encoding:
    return encoding(*[7] * length)


def test_pad_makes_a_batch_as_wide_as_its_longest_text() -> None:
    batch = pad([encoding(5), encoding(6, 7, 8)], pad_id=9)
    assert batch.input_ids.tolist() == [[5, 9, 9], [6, 7, 8]]
    assert batch.attention_mask.tolist() == [[1, 0, 0], [1, 1, 1]]
    assert batch.padded_tokens == 6
    assert len(batch) == 2


def test_a_text_without_tokens_is_one_of_a_padded_batch_too() -> None:
    assert pad([encoding()], pad_id=9).attention_mask.tolist() == [[1]]
    assert pad([encoding(), encoding(1, 2)], pad_id=9).attention_mask.tolist() == [[1, 0], [1, 1]]


def test_pack_puts_short_texts_behind_each_other_and_numbers_them() -> None:
    batch, places = pack([encoding(5), encoding(6, 7, 8), encoding(1, 2)], pad_id=9, rows=2)
    assert batch.input_ids.tolist() == [[6, 7, 8], [1, 2, 5]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 2]]
    assert places == [2, 0, 1]


def test_what_is_left_of_a_row_is_padding() -> None:
    batch, _ = pack([encoding(6, 7, 8), encoding(1)], pad_id=9, rows=2)
    assert batch.input_ids.tolist() == [[6, 7, 8], [1, 9, 9]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_a_text_without_tokens_has_a_place_of_its_own() -> None:
    batch, places = pack([encoding(), encoding(6)], pad_id=9, rows=1)
    assert batch.input_ids.tolist() == [[9, 6]]
    assert batch.attention_mask.tolist() == [[1, 2]]
    assert places == [0, 1]


@pytest.mark.parametrize(
    ("lengths", "rows"),
    [
        ([24] * 16, 16),  # texts of one length need no padding as it is
        ([60, *[10] * 12], 3),
        ([400, *[25] * 4], 1),  # two rows of 400 would be half empty
        ([5, 4, 3], 1),  # short ones, which hardly look at each other
        ([30], 1),
    ],
)
def test_there_are_as_many_rows_as_cost_least(lengths: list[int], rows: int) -> None:
    assert len(pack([of_length(length) for length in lengths], pad_id=0)[0]) == rows


@given(st.lists(st.integers(1, 100), min_size=1, max_size=40))
def test_every_text_lies_somewhere_whole_and_logits_are_found_again(lengths: list[int]) -> None:
    encodings = [encoding(*range(number * 1000, number * 1000 + length)) for number, length in enumerate(lengths)]
    batch, places = pack(encodings, pad_id=-1)
    # In the order in which a graph finds them: row by row, and in each by number.
    found = [
        ids[mask == text].tolist()
        for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)
        for text in range(1, mask.max() + 1)
    ]
    assert [found[place] for place in places] == [[*each.ids] for each in encodings]
    assert np.array_equal(batch.input_ids == -1, batch.attention_mask == 0)
    assert batch.padded_tokens <= len(lengths) * max(lengths)  # never more than padding would take
