"""The limits on the headers and the body of a request."""

import pytest
from starlette.exceptions import HTTPException

from app.api.invalid import BodyInvalid
from app.api.request import check_length, check_media_type, timeout_ms, validate
from app.api.schemas import BatchRequest, PredictRequest
from app.errors import InvalidInput, TextTooLong

JSON = {b"content-type": b"application/json"}


@pytest.mark.parametrize(
    "media_type", [b"application/json", b"Application/JSON; charset=utf-8", b" application/json ;v=1"]
)
def test_json_media_types_are_accepted(media_type: bytes) -> None:
    check_media_type({b"content-type": media_type})


@pytest.mark.parametrize("headers", [{}, {b"content-type": b"text/json"}, {b"content-type": b"application/json5"}])
def test_other_media_types_get_415(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(HTTPException, match="content type") as caught:
        check_media_type(headers)
    assert caught.value.status_code == 415


@pytest.mark.parametrize("header", [(b"content-encoding", b"gzip"), (b"transfer-encoding", b"gzip, chunked")])
def test_compressed_bodies_get_415(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(HTTPException, match="compressed") as caught:
        check_media_type(JSON | {header[0]: header[1]})
    assert caught.value.status_code == 415


@pytest.mark.parametrize("header", [(b"content-encoding", b"Identity"), (b"transfer-encoding", b"Chunked")])
def test_plain_encodings_are_accepted(header: tuple[bytes, bytes]) -> None:
    check_media_type(JSON | {header[0]: header[1]})


@pytest.mark.parametrize("length", [b"11", b"0011", b"9" * 30, b"9" * 5000])
def test_a_stated_length_over_the_limit_is_refused(length: bytes) -> None:
    with pytest.raises(TextTooLong):
        check_length({b"content-length": length}, 10)


@pytest.mark.parametrize("length", [b"", b"0", b"10", b"0010", b"-5", b"ten"])
def test_other_stated_lengths_are_left_to_the_body(length: bytes) -> None:
    check_length({b"content-length": length}, 10)


@pytest.mark.parametrize(("stated", "ms"), [(None, 1000), (b"5", 5), (b" 5 ", 5), (b"5000", 1000), (b"9" * 100, 1000)])
def test_a_client_may_lower_the_time_limit_but_not_raise_it(stated: bytes | None, ms: float) -> None:
    assert timeout_ms({} if stated is None else {b"x-request-timeout-ms": stated}, 1000) == ms


@pytest.mark.parametrize("stated", [b"", b"0", b"-1", b"1.5", b"1e3", b"ten", b"9" * 101, "\uff15".encode()])
def test_a_time_limit_that_is_not_a_whole_number_is_refused(stated: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        timeout_ms({b"x-request-timeout-ms": stated}, 1000)
    assert caught.value.loc == ("header", "X-Request-Timeout-Ms")


def test_the_error_of_an_invalid_body_does_not_contain_its_input() -> None:
    with pytest.raises(BodyInvalid) as caught:
        validate(PredictRequest, {"text": "secret words", "top_k": "secret number"})
    assert "secret" not in str(caught.value.errors)
    assert [error["loc"] for error in caught.value.errors] == [("top_k",)]


@pytest.mark.parametrize(
    ("value", "msg"), [([], "Input should be an object"), ({"texts": "a"}, "Input should be a valid array")]
)
def test_errors_have_the_words_of_json_not_of_python(value: object, msg: str) -> None:
    with pytest.raises(BodyInvalid) as caught:
        validate(BatchRequest, value)
    assert [error["msg"] for error in caught.value.errors] == [msg]
