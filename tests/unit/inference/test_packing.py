"""Several texts in the rows of a batch."""

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


def test_pad_accepts_a_text_without_tokens() -> None:
    assert pad([encoding()], pad_id=9).attention_mask.tolist() == [[1]]
    assert pad([encoding(), encoding(1, 2)], pad_id=9).attention_mask.tolist() == [[1, 0], [1, 1]]


def test_pack_puts_short_texts_into_one_row_and_numbers_them() -> None:
    batch, places = pack([encoding(5), encoding(6, 7, 8), encoding(1, 2)], pad_id=9, rows=2)
    assert batch.input_ids.tolist() == [[6, 7, 8], [1, 2, 5]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 2]]
    assert places == [2, 0, 1]


def test_the_rest_of_a_row_is_padding() -> None:
    batch, _ = pack([encoding(6, 7, 8), encoding(1)], pad_id=9, rows=2)
    assert batch.input_ids.tolist() == [[6, 7, 8], [1, 9, 9]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_pack_gives_a_text_without_tokens_its_own_place() -> None:
    batch, places = pack([encoding(), encoding(6)], pad_id=9, rows=1)
    assert batch.input_ids.tolist() == [[9, 6]]
    assert batch.attention_mask.tolist() == [[1, 2]]
    assert places == [0, 1]


@pytest.mark.parametrize(
    ("lengths", "rows"),
    [
        ([24] * 16, 16),  # texts of the same length need no padding
        ([60, *[10] * 12], 3),
        ([400, *[25] * 4], 1),  # two rows of 400 would be half empty
        ([5, 4, 3], 1),  # short texts, for which attention across the row is cheap
        ([30], 1),
    ],
)
def test_the_number_of_rows_has_the_lowest_cost(lengths: list[int], rows: int) -> None:
    assert len(pack([of_length(length) for length in lengths], pad_id=0)[0]) == rows


@given(st.lists(st.integers(1, 100), min_size=1, max_size=40))
def test_every_text_is_whole_and_has_a_place_in_the_logits(lengths: list[int]) -> None:
    encodings = [encoding(*range(number * 1000, number * 1000 + length)) for number, length in enumerate(lengths)]
    batch, places = pack(encodings, pad_id=-1)
    # In the order of the logits: row by row, and by number within a row.
    in_order = [
        ids[mask == text].tolist()
        for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)
        for text in range(1, mask.max() + 1)
    ]
    assert [in_order[place] for place in places] == [[*each.ids] for each in encodings]
    assert np.array_equal(batch.input_ids == -1, batch.attention_mask == 0)
    assert batch.padded_tokens <= len(lengths) * max(lengths)  # never more than with one text per row
