"""NDJSON that arrives in pieces of any size is split into the same lines."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.lines import LineSplitter


def split(*parts: bytes, max_bytes: int = 10) -> list[bytes | None]:
    splitter = LineSplitter(max_bytes)
    lines = [line for part in parts for line in splitter.feed(part)]
    return lines + splitter.end()


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a\r\nb\r\n", [b"a\r", b"b\r"]),
        (b"\n\n a\n \t\r\n\nb\n\n", [b"a", b"b"]),
        (b"\xef\xbb\xbfa\nb", [b"a", b"b"]),
        (b"\xef\xbb\xbf", []),
        (b"a\rb\n", [b"a\rb"]),
        (b"0123456789\n", [b"0123456789"]),
        (b"0123456789a\nb\n", [None, b"b"]),
        (b"b\n0123456789a", [b"b", None]),
        (b"\n" * 1000, []),
        (b" " * 1000 + b"\nb", [b"b"]),
    ],
)
def test_data_is_split_into_lines(data: bytes, lines: list[bytes | None]) -> None:
    assert split(data) == lines


@given(
    st.lists(st.sampled_from([b"\n", b"\r\n", b" ", b"a", b"bc", b"\xef\xbb\xbf", b"0123456789"]), max_size=30),
    st.lists(st.integers(0, 100)),
)
def test_the_pieces_make_no_difference(tokens: list[bytes], cuts: list[int]) -> None:
    data = b"".join(tokens)
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    # A run of white space over the limit is a line that is too long only if it comes in pieces.
    if all(len(line) <= 10 for line in data.split(b"\n")):
        assert split(*(data[start:end] for start, end in pairwise(places))) == split(data)


@pytest.mark.parametrize("size", [1, 7, 10, 11, 64])
def test_a_line_without_end_is_not_kept(size: int) -> None:
    splitter = LineSplitter(10)
    for _ in range(1000):
        assert splitter.feed(b"x" * size) == []
        assert splitter.held_bytes <= 10
    assert splitter.feed(b"yz\nnext\nlast") == [None, b"next"]
    assert splitter.end() == [b"last"]
