"""Texts behind JSON, as the binary extension of the Open Inference Protocol has them."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.invalid import BodyInvalid
from app.api.protocols.tensors import TensorParser, encode_strings
from app.api.schemas import Limits
from app.errors import InvalidInput, MalformedBody, TextTooLong
from app.types import Text, unpack

LIMITS = Limits(max_text_chars=100, max_batch_texts=8, max_body_bytes=5000, request_timeout_ms=1000)


def header(count: int, size: int | None, **fields: Any) -> bytes:
    parameters = {} if size is None else {"parameters": {"binary_data_size": size}}
    text = {"name": "TEXT", "shape": [count], "datatype": "BYTES"} | parameters | fields
    return json.dumps({"inputs": [text]}).encode()


def parse(start: bytes, tensor: bytes, piece: int = 10**6, limits: Limits = LIMITS) -> list[Text]:
    parser = TensorParser(len(start), limits)
    body = start + tensor
    places = range(0, max(1, len(body)), piece)
    for place in places:
        parser.feed(body[place : place + piece], is_last=place == places[-1])
    return parser.texts


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8), st.integers(1, 200))
def test_texts_are_the_same_whatever_pieces_they_come_in(texts: list[str], piece: int) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    tensor = encode_strings(texts)
    assert [*map(unpack, parse(header(len(texts), len(tensor)), tensor, piece))] == texts


GOOD = encode_strings(["good", "schön"])


@pytest.mark.parametrize(
    ("start", "tensor", "message"),
    [
        (header(2, 18), GOOD[:-1], "the body ends before the end of TEXT"),
        (header(2, 18), b"", "the body ends before the end of TEXT"),
        (header(2, 18), GOOD + b"1", "the body goes on after its JSON and binary_data_size"),
        (header(2, 19), GOOD + b"1", "TEXT has more bytes than its 2 elements need"),
        (header(3, 18), GOOD, "TEXT has 2 elements, but its shape says 3"),
        (header(1, 18), GOOD, "TEXT has more bytes than its 1 elements need"),
        (header(1, 0), b"", "TEXT has 0 elements, but its shape says 1"),
        (header(1, 3), b"\0\0\0", "TEXT has 0 elements, but its shape says 1"),
        (header(2, 17), GOOD, "element 1 of TEXT is longer than what is left of binary_data_size"),
        (header(1, 8), b"\xff\xff\xff\xffgood", "element 0 of TEXT is longer than what is left of binary_data_size"),
        (header(1, None, data=["good"]), b"good", "the body goes on after its JSON and binary_data_size"),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_lengths_that_do_not_agree_are_refused(start: bytes, tensor: bytes, message: str, piece: int) -> None:
    with pytest.raises(MalformedBody) as caught:
        parse(start, tensor, piece)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("start", "error", "message"),
    [
        (header(1, 10**30), MalformedBody, "the body ends before the end of TEXT"),
        (header(1, -1), BodyInvalid, "does not match"),
        (header(1, 18, data=["good"]), InvalidInput, "both data and binary_data_size"),
        (header(1, None), InvalidInput, "the input has no data"),
        (header(9, 18), TextTooLong, "more than 8 texts"),
        (b"{", BodyInvalid, "does not match"),
        (b"\xff", BodyInvalid, "does not match"),
    ],
)
def test_json_that_is_not_valid_is_refused(start: bytes, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        parse(start, b"")


def test_a_body_that_is_shorter_than_its_json_is_refused() -> None:
    with pytest.raises(MalformedBody, match="before the end of its JSON"):
        TensorParser(100, LIMITS).feed(b"{", is_last=True)


def test_a_text_that_is_not_utf_8_is_named() -> None:
    tensor = encode_strings(["good", "bad"]).replace(b"bad", b"b\xffd")
    with pytest.raises(InvalidInput, match="not valid UTF-8") as caught:
        parse(header(2, len(tensor)), tensor)
    assert caught.value.loc == ("body", "inputs", 0, "data", 1)


def test_a_text_that_must_be_too_long_is_refused_before_it_arrives() -> None:
    start = header(1, 10**6)
    parser = TensorParser(len(start), LIMITS)
    with pytest.raises(TextTooLong, match="more than 100 characters"):
        parser.feed(start + (500).to_bytes(4, "little"))


def test_an_announced_length_takes_no_memory() -> None:
    start = header(1, 2**40)
    limits = LIMITS.model_copy(update={"max_text_chars": 2**40})
    parser = TensorParser(len(start), limits)
    tracemalloc.start()
    parser.feed(start + b"\xff\xff\xff\xff")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_a_body_takes_less_than_five_times_its_memory() -> None:
    """The worst texts have a single emoji each."""
    limits = Limits(max_text_chars=10_000, max_batch_texts=256, max_body_bytes=4 << 20, request_timeout_ms=1000)
    tensor = encode_strings(["a" * 9_999 + "😀"] * 256)
    start = header(256, len(tensor))
    body = start + tensor
    parser = TensorParser(len(start), limits)
    tracemalloc.start()
    for place in range(0, len(body), 65536):
        parser.feed(body[place : place + 65536], is_last=place + 65536 >= len(body))
        assert parser.held_bytes < 1.1 * len(body)
    assert len(parser.texts) == 256
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4.5 * len(body)
