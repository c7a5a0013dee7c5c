"""The layout of a batch, and batches of very different lengths."""

from hypothesis import given
from hypothesis import strategies as st

from app.inference.padding import pad, split
from app.types import Encoding


def encoding(*ids: int) -> Encoding:
    return Encoding(ids, truncated=False)


def test_pad_makes_a_batch_as_wide_as_its_longest_text() -> None:
    batch = pad([encoding(5), encoding(6, 7, 8)], pad_id=9)
    assert batch.input_ids.tolist() == [[5, 9, 9], [6, 7, 8]]
    assert batch.attention_mask.tolist() == [[1, 0, 0], [1, 1, 1]]
    assert batch.input_ids.size == 6
    assert len(batch) == 2


def test_pad_accepts_a_text_without_tokens() -> None:
    assert pad([encoding()], pad_id=9).attention_mask.tolist() == [[1]]
    assert pad([encoding(), encoding(1, 2)], pad_id=9).attention_mask.tolist() == [[1, 0], [1, 1]]


def test_texts_of_similar_length_share_a_run() -> None:
    assert split([24] * 16) == [[*range(16)]]
    assert split([20, 30, 25]) == [[1, 2, 0]]


def test_a_much_longer_text_runs_by_itself() -> None:
    assert split([20, 400, 24]) == [[1], [2, 0]]
    assert split([500, 10, 495, 12]) == [[0, 2], [3, 1]]


@given(st.lists(st.integers(0, 512), min_size=1, max_size=64))
def test_every_text_is_in_one_run_and_little_attention_is_wasted(lengths: list[int]) -> None:
    runs = split(lengths)
    assert sorted(index for run in runs for index in run) == [*range(len(lengths))]
    for run in runs:
        longest = max(lengths[index] for index in run)
        assert sum(longest**2 - lengths[index] ** 2 for index in run) <= 600 * 16
