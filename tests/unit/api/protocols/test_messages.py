"""Requests of the Open Inference Protocol: a small and a large body are read in the same way."""

import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.invalid import BodyInvalid
from app.api.parser import BodyParser
from app.api.protocols.messages import InferRequest, count_of, form_of, parse, texts_of, validate
from app.api.schemas import Limits
from app.errors import InvalidInput, SentimentError, TextTooLong
from app.types import unpack

LIMITS = Limits(max_text_chars=30, max_batch_texts=4, max_body_bytes=5000, request_timeout_ms=1000)
FORM = form_of(LIMITS)


def request(**fields: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "TEXT", "shape": [2], "datatype": "BYTES", "data": ["good", "schön"]} | fields]}


def read(body: bytes, piece: int = 10**7) -> InferRequest:
    parser = BodyParser(FORM)
    places = range(0, len(body), piece)
    for place in places:
        parser.feed(body[place : place + piece], is_last=place == places[-1])
    return validate(parser.value)


def outcome(work: Any) -> Any:
    try:
        read = work()
        return read.model_dump(), texts_of(read.text.data or (), count_of(read.text, LIMITS))
    except (BodyInvalid, SentimentError) as error:
        return type(error)


SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["TEXT", "BYTES", "LABEL", "a", "é😀"])
INPUTS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("TEXT") | SCALARS,
        "datatype": st.just("BYTES") | SCALARS,
        "shape": st.lists(st.integers(0, 3), max_size=3) | SCALARS,
        "parameters": st.just({"binary_data_size": 3}) | st.just({}) | SCALARS,
        "data": st.lists(SCALARS | st.lists(SCALARS, max_size=2), max_size=4) | SCALARS,
        "other": st.just([1, {}]),
    },
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "id": SCALARS,
        "inputs": st.lists(INPUTS | SCALARS, max_size=2) | st.lists(INPUTS, min_size=1, max_size=1) | SCALARS,
        "outputs": st.just([{"name": "LABEL", "parameters": {"binary_data": True}}]) | SCALARS,
        "parameters": st.just({"timeout": 5, "other": [1]}) | SCALARS,
        "other": st.just({"a": [1]}),
    },
)


@given(BODIES | st.lists(BODIES) | SCALARS, st.integers(1, 50))
def test_a_large_body_is_read_as_a_small_one(value: Any, piece: int) -> None:
    body = json.dumps(value, ensure_ascii=False).encode()
    assert outcome(lambda: read(body, piece)) == outcome(lambda: parse(body))


@pytest.mark.parametrize("shape", [[2], [2, 1], [2.0]])
@pytest.mark.parametrize("data", [["good", "schön"], [["good"], ["schön"]], [["good", "schön"]], ["good", ["schön"]]])
def test_texts_may_be_in_one_list_or_in_several(shape: Any, data: Any) -> None:
    for found in (read(json.dumps(request(shape=shape, data=data)).encode()), parse(json.dumps(request(data=data)))):
        texts = texts_of(found.text.data or (), count_of(found.text, LIMITS))
        assert [*map(unpack, texts)] == ["good", "schön"]


@pytest.mark.parametrize("shape", [[1], [3], [1, 2], [2, 2], [2, 0]])
def test_a_shape_that_does_not_fit_is_refused(shape: list[int]) -> None:
    assert outcome(lambda: read(json.dumps(request(shape=shape)).encode())) in (InvalidInput, BodyInvalid)


def test_more_texts_than_a_list_may_have_are_refused() -> None:
    with pytest.raises(TextTooLong):
        read(json.dumps(request(shape=[5], data=["a"] * 5)).encode())
    with pytest.raises(TextTooLong):
        count_of(parse(json.dumps(request(shape=[5], data=["a"] * 5))).text, LIMITS)


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": [' + b"{}," * 10**6,
        b'{"inputs": [{"data": [' + b"[]," * 10**6,
        b'{"inputs": [{"data": [' + b"[" * 10**6,
        b'{"inputs": [{"data": [' + b"1," * 10**6,
        b'{"inputs": [{"shape": [' + b"1," * 10**6,
        b'{"inputs": [{"parameters": {' + b'"a":[],' * 10**6,
        b'{"inputs": [' + b'{"a":1},' * 10**6,
        b'{"outputs": [' + b"{}," * 10**6,
        b'{"inputs": [{"a": ' + b'{"a":' * 10**6,
        b'{"inputs": [' + b'"a",' * 10**6,
    ],
    ids=lambda body: body[:40].decode(),
)
def test_structure_is_refused_before_it_takes_memory(body: bytes) -> None:
    parser = BodyParser(form_of(LIMITS.model_copy(update={"max_batch_texts": 256})))
    body = body[: 4 << 20]
    tracemalloc.start()
    started_s = time.process_time()
    with pytest.raises((BodyInvalid, TextTooLong)):
        any(parser.feed(body[place : place + 65536]) for place in range(0, len(body), 65536))  # type: ignore[func-returns-value]
    spent_s = time.process_time() - started_s
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 << 20
    assert spent_s < 5  # hours, if each of a million elements took a step


def test_an_error_does_not_repeat_the_name_of_an_output() -> None:
    with pytest.raises(BodyInvalid) as caught:
        parse(json.dumps(request() | {"outputs": [{"name": "a: secret"}]}).encode())
    assert caught.value.describe("body") == (422, "outputs.0: expected one of 'LABEL', 'SCORES'")


def test_an_error_about_an_empty_list_is_plain() -> None:
    with pytest.raises(BodyInvalid) as caught:
        parse(b'{"inputs": []}')
    assert caught.value.describe("body") == (422, "inputs: List should have at least 1 item, not 0")
