"""The parser of bodies: it accepts what pydantic accepts, whatever pieces it comes in, and refuses the rest early."""

import json
import sys
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.api.form import Form
from app.api.invalid import BodyInvalid
from app.api.parser import BodyParser
from app.api.request import validate
from app.api.schemas import BatchRequest, PartialBatchRequest, PredictRequest
from app.errors import TextTooLong
from app.types import unpack

CHARS = 1000
SINGLE = Form(PredictRequest.model_fields, CHARS)
LIST = Form(BatchRequest.model_fields, CHARS, "texts", 8)


def parse(body: bytes, form: Form = LIST, pieces: int = 1) -> Any:
    parser = BodyParser(form)
    size = -(-len(body) // pieces) or 1
    for start in range(0, len(body) or 1, size):
        parser.feed(body[start : start + size], is_last=start + size >= len(body))
    return parser.value


def request_of(body: bytes, pieces: int = 1) -> BatchRequest | PartialBatchRequest:
    value = parse(body, pieces=pieces)
    if isinstance(value, dict) and value.get("partial") is True:
        return validate(PartialBatchRequest, value)
    return validate(BatchRequest, value)


def outcome(body: bytes, pieces: int) -> Any:
    """What a body means, or what is wrong with it."""
    try:
        request = request_of(body, pieces)
    except BodyInvalid as error:
        return error.errors
    except TextTooLong as error:
        return str(error), error.loc
    return type(request), [str(text) for text in request.texts], request.model_dump(exclude={"texts"})


def expected(body: bytes) -> Any:
    """What pydantic says about a body that is within all limits."""
    try:
        return BatchRequest, *_parts(BatchRequest.model_validate_json(body))
    except ValidationError as error:
        return error.errors(include_url=False, include_context=False, include_input=False)


def _parts(request: BatchRequest) -> tuple[list[str], dict[str, Any]]:
    return request.texts, request.model_dump(exclude={"texts"})


TEXTS = st.text(
    ["a", " ", '"', "\\", "/", "\n", "\0", "]", "}", ",", "\u00e9", "\u2028", "\U0001f600", "\ud83d", "\ude00"]
)
SCALARS = st.sampled_from([None, True, False, 0, 2, 2.0, -1.5, 10**400, 1e300, float("nan"), float("-inf"), "truncate"])
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from([*BatchRequest.model_fields, "text", ""])
BODIES = st.dictionaries(NAMES, VALUES | st.lists(TEXTS | VALUES, max_size=4), max_size=6)
PIECES = r"""
{"texts": | {"texts": ["good" | [ | ] | { | } | , | : | "a" | "\ud83d\ude00" | "\u0074exts" | "\ud800" | "\ | " | // |
1 | - | 01 | 0.0 | 1e999 | NaN | -Infinity | nul | null | true | 1111111111111111111111 | "top_k" | "partial": true
"""
RAW = [b"\0", b" ", b"\n", b"\xef\xbb\xbf", b'"\xff"', b'"\xf0\x9f\x98\x80"', b"1" * 400]
BROKEN = st.lists(st.sampled_from([*PIECES.encode().replace(b"\n", b" ").split(b" | "), *RAW]), max_size=9).map(
    b"".join
)


def _damaged(body: bytes, place: int, inserted: bytes) -> bytes:
    place %= len(body) + 1
    return body[:place] + inserted + body[place + 1 :]


WRITTEN = st.builds(
    lambda body, ascii_, indent: json.dumps(body, ensure_ascii=ascii_, indent=indent).encode(errors="surrogatepass"),
    BODIES,
    st.booleans(),
    st.sampled_from([None, 1]),
)
DAMAGED = st.builds(
    _damaged, WRITTEN, st.integers(0, 400), st.sampled_from([b"", b"\\", b'"', b"\xff", b"]", b"}", b","])
)


@settings(max_examples=60)
@given(WRITTEN | DAMAGED | BROKEN, st.integers(2, 40))
@example(b"", 2)
@example(b'{"texts": ["a"], "texts": ["b"]}', 3)
@example(b'{"texts": ["a"]} {"texts": ["b"]}', 3)
@example(b'{"texts": ["a", ["b", {"c": "]"}], "d"]}', 5)
@example(b'{"texts": ["a"],\n"top_k": 1e999,\r\n "partial": 1}', 5)
@example(b'["texts"]', 2)
@example(b'"texts"', 2)
@example(b"7", 2)
@example(b'{"texts": ["a"]}, ' + b" " * 1000, 3)
@example(b'{"texts": [' + b'"a",' * 7 + b"]}", 2)
def test_the_parser_agrees_with_pydantic(body: bytes, pieces: int) -> None:
    whole = outcome(body, 1)
    assert outcome(body, pieces) == whole
    body = body.removeprefix(b"\xef\xbb\xbf")
    right = expected(body)
    if isinstance(right, tuple):
        assert whole in (right, (PartialBatchRequest, *right[1:]))
    elif isinstance(whole, tuple):
        assert whole[0] is PartialBatchRequest  # with a text that is invalid
    else:
        wanted = [(error["type"], error["loc"], error["msg"].removeprefix("Invalid JSON: ")) for error in right]
        assert [(error["type"], error["loc"], error["msg"]) for error in whole] == wanted


@pytest.mark.parametrize(
    ("start", "part", "end", "loc"),
    [
        ('{"texts": ["a"], "top_k": [', "[],", "[]]}", ("top_k",)),
        ('{"texts": ["a", ', "[[{}]], ", "1]}", ("texts",)),
        ('{"partial": true, "texts": ["a", [', '{"b": "c"}, ', "1]]}", ("texts", 1)),
        ('{"texts": ["a"], "other": [', "1, ", "1]}", ("",)),
        ("[", '"a", ', '"a"]', ()),
        ('{"texts": ["a"], "top_k": 1.', "0", "}", ("top_k",)),
    ],
)
def test_what_is_not_text_is_limited_in_size(start: str, part: str, end: str, loc: tuple[str | int, ...]) -> None:
    form = replace(LIST, max_texts=10**6)
    body = (start + part * (100_000 // len(part)) + end).encode()
    for sent in (body, body[:90_000]):  # what follows does not matter
        with pytest.raises(BodyInvalid) as caught:
            parse(sent, form, pieces=2)
        (error,) = caught.value.errors
        assert error["type"] in {"too_large", "extra_forbidden"}
        assert error["loc"][: len(loc)] == loc


@pytest.mark.parametrize("nested", ["[" * 300_000, '{"a":' * 60_000])
@pytest.mark.parametrize(
    "before", ["", "[", '{"texts": ', '{"texts": [', '{"texts": ["a", ', '{"top_k": ', '{"other": ']
)
def test_deep_nesting_is_not_json_as_in_pydantic(before: str, nested: str) -> None:
    with pytest.raises(BodyInvalid) as caught:
        parse((before + nested).encode(), pieces=5)
    assert [error["type"] for error in caught.value.errors] == ["json_invalid"]


@pytest.mark.parametrize("end", [b"", b"]}", b'], "partial": true}', b"broken"])
@pytest.mark.parametrize("element", [b'""', b'"a"', b"1", b"[]", b'{"a": 1}', b'"\\ud800"'])
def test_too_many_elements_are_refused_before_the_last_has_come(element: bytes, end: bytes) -> None:
    parser = BodyParser(LIST)
    with pytest.raises(TextTooLong, match="more than 8 texts") as caught:
        parser.feed(b'{"texts": [' + b", ".join([element] * 9) + b", " + end)
    assert caught.value.loc == ("body", "texts")


@pytest.mark.parametrize("name", ["top_k", "texts", "other"])
def test_fields_are_limited_in_number(name: str) -> None:
    for count, fits in ((32, True), (33, False)):
        parser = BodyParser(LIST)
        body = b"{" + b", ".join([b'"%b": 1' % name.encode()] * count)
        if fits:
            parser.feed(body)
        else:
            with pytest.raises(BodyInvalid):
                parser.feed(body)


@pytest.mark.parametrize("form", [SINGLE, LIST])
@pytest.mark.parametrize("text", ["a" * 1001, "\u00e9" * 300_000, "\n" * 1001, "\U0001f600" * 300_000])
@pytest.mark.parametrize("ascii_", [True, False])
def test_a_text_that_is_too_long_is_not_kept(form: Form, text: str, ascii_: bool) -> None:
    body = {"text": text} if form is SINGLE else {"texts": ["before", text, "after"]}
    value = parse(json.dumps(body, ensure_ascii=ascii_).encode(), form, pieces=9)
    kept = value["text"] if form is SINGLE else value["texts"][1]
    assert len(kept) == CHARS + 1
    assert form is SINGLE or (value["texts"][0], value["texts"][2]) == ("before", "after")


def test_a_text_of_the_greatest_length_is_kept_however_it_is_written() -> None:
    text = "\U0001f600" * CHARS
    for ascii_ in (True, False):
        body = json.dumps({"text": text, "truncate": True}, ensure_ascii=ascii_).encode()
        assert parse(body, SINGLE, pieces=7) == {"text": text, "truncate": True}


@pytest.mark.parametrize(
    "body",
    [
        '{"texts": ["' + "x" * 999 + '\U0001f600"' + ', "' * 1,
        '{"texts": ["a"]' + " \n" * 2_000_000,
        '{"texts": ["' + "\\n" * 2_000_000,
        '{"' + "k" * 4_000_000,
        '{"texts": [' + '"", ' * 1_000_000,
        '{"partial": true, "texts": [' + "1, " * 1_000_000,
        '{"partial": true, "texts": [' + '{"a": []}, ' * 400_000,
        "{" + ", ".join(f'"{number}": [[[[[[[[]]]]]]]]' for number in range(150_000)),
        '{"top_k": ' + "1" * 4_000_000,
        "[" * 4_000_000,
    ],
)
def test_a_hostile_body_takes_little_memory(body: str) -> None:
    data = body.encode()
    parser = BodyParser(replace(LIST, max_texts=256, max_text_chars=10_000))
    tracemalloc.start()
    try:
        for start in range(0, len(data), 65_536):
            parser.feed(data[start : start + 65_536])
    except (BodyInvalid, TextTooLong):
        pass
    finally:
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < 2_500_000


def test_texts_with_an_emoji_take_their_size() -> None:
    texts = ["x" * 9999 + "\U0001f600"] * 256
    data = json.dumps({"texts": texts}, ensure_ascii=False).encode()
    parser = BodyParser(Form(BatchRequest.model_fields, 10_000, "texts", 256))
    for start in range(0, len(data), 65_536):
        parser.feed(data[start : start + 65_536], is_last=start + 65_536 >= len(data))
    assert parser.held_bytes < 1.1 * len(data)
    valid = validate(BatchRequest, parser.value).texts
    assert sum(map(sys.getsizeof, valid)) < 1.1 * len(data)
    assert [*map(unpack, valid)] == texts


@pytest.mark.parametrize(
    "body",
    [
        b'{"texts": ["%b"], "texts": ["a"' % (b"x" * 900),
        b'{"texts": "%b", "texts": ["a"' % (b"x" * 900),
        b'{"long_text": "%b", "long_text": "a", "texts": ["a"' % (b"x" * 900),
        b'{"unknown": "%b", "texts": ["a"' % (b"x" * 900),
        b'{%b "texts": ["a"' % b"".join(b'"unknown%d": "%b", ' % (n, b"x" * 900) for n in range(30)),
    ],
)
def test_what_is_not_kept_takes_no_memory(body: bytes) -> None:
    parser = BodyParser(LIST)
    parser.feed(body)
    assert parser.held_bytes < 900


def test_the_place_of_an_error_is_that_in_the_whole_body() -> None:
    body = b'{"texts": [\n' + b'  "good",\n' * 5 + b"  bad]}"
    for pieces in range(1, 20):
        with pytest.raises(BodyInvalid) as caught:
            parse(body, pieces=pieces)
        assert "at line 7 column 3" in caught.value.errors[0]["msg"]


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "latin-1"]
)
def test_another_encoding_than_utf_8_is_noticed(encoding: str) -> None:
    for text, is_utf8 in (('{"text": "\u00e9"}'.encode(encoding), False), ('{"text": "\u00e9"'.encode(), True)):
        for pieces in (1, 3, 30):
            with pytest.raises(BodyInvalid) as caught:
                parse(text, SINGLE, pieces)
            assert caught.value.is_utf8 is is_utf8
