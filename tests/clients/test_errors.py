"""Which response means which error, and what an error shows."""

import copy
import email.utils
import json
import pickle
import time

import pytest
import rt_sentiment_client
from rt_sentiment_client import (
    DeadlineExceeded,
    InvalidRequest,
    InvalidText,
    Overloaded,
    SentimentError,
    ServerError,
    TextTooLong,
    Unauthorized,
    Unavailable,
    UnexpectedResponse,
)
from rt_sentiment_client.errors import error_from_response, error_in_place, retry_after_s

PROBLEM = {"content-type": "application/problem+json"}


@pytest.mark.parametrize(
    ("status", "kind", "is_temporary"),
    [
        (400, InvalidRequest, False),
        (401, Unauthorized, False),
        (403, Unauthorized, False),
        (404, InvalidRequest, False),
        (405, InvalidRequest, False),
        (408, Unavailable, True),
        (413, TextTooLong, False),
        (415, InvalidRequest, False),
        (418, InvalidRequest, False),
        (422, InvalidRequest, False),
        (429, Overloaded, True),
        (431, InvalidRequest, False),
        (500, ServerError, False),
        (502, Unavailable, True),
        (503, Unavailable, True),
        (504, DeadlineExceeded, True),
        (599, ServerError, False),
        (308, UnexpectedResponse, False),
        (204, UnexpectedResponse, False),
    ],
)
def test_a_status_has_its_error(status: int, kind: type[SentimentError], is_temporary: bool) -> None:
    error = error_from_response(status, {}, b"<html>", "id-1")
    assert (type(error), error.status, error.request_id) == (kind, status, "id-1")
    assert error.is_temporary is is_temporary


@pytest.mark.parametrize(
    ("loc", "kind"),
    [
        (["body", "text"], InvalidText),
        (["body", "texts", 3], InvalidText),
        (["body", "top_k"], InvalidRequest),
        (["header", "X-Request-Timeout-Ms"], InvalidRequest),
        ("body", InvalidRequest),
    ],
)
def test_a_422_about_the_text_differs_from_others(loc: object, kind: type[SentimentError]) -> None:
    body = json.dumps({"detail": "no", "errors": [{"loc": loc, "msg": "no"}]}).encode()
    assert type(error_from_response(422, PROBLEM, body)) is kind


def test_an_error_has_the_detail_and_the_id_of_the_response() -> None:
    body = json.dumps({"detail": "the queue is full", "request_id": "theirs"}).encode()
    error = error_from_response(429, PROBLEM | {"retry-after": "7"}, body, "ours")
    error.attempts = 3
    assert (error.detail, error.request_id, error.retry_after_s) == ("the queue is full", "theirs", 7)
    assert str(error) == "the queue is full (status 429, attempts 3, request id theirs)"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"detail": 5, "request_id": 6, "errors": 7}', b"[" * 100_000])
def test_a_broken_problem_is_still_an_error_of_its_status(body: bytes) -> None:
    error = error_from_response(422, PROBLEM, body, "ours")
    assert (type(error), error.detail) == (InvalidRequest, "the server responded with status 422")
    assert error.request_id == "ours"


def test_only_details_in_the_format_of_the_server_are_shown() -> None:
    """Other servers may repeat the text."""
    error = error_from_response(400, {"content-type": "application/json"}, b'{"detail": "my secret text"}')
    assert "secret" not in str(error) + repr(error)


@pytest.mark.parametrize(("status", "kind"), [(413, TextTooLong), (422, InvalidText), (500, ServerError)])
def test_an_error_in_a_place_has_the_kind_of_its_status(status: int, kind: type[SentimentError]) -> None:
    error = error_in_place({"status": status, "detail": "no"}, "id-1")
    assert (type(error), error.status, error.detail) == (kind, status, "no")


@pytest.mark.parametrize("content", [None, [], {}, {"status": "422"}, "no"])
def test_an_error_in_a_place_without_a_status_is_unexpected(content: object) -> None:
    with pytest.raises(UnexpectedResponse):
        error_in_place(content, "id-1")


def test_an_error_in_a_place_without_a_detail_says_its_status() -> None:
    assert error_in_place({"status": 418}, None).detail == "the text has an error with status 418"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        (" 12 ", 12),
        ("1.5", None),
        ("-1", None),
        ("soon", None),
        ("²", None),
        ("9" * 5000, 1e12),
    ],
)
def test_retry_after_in_seconds(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value) == pytest.approx(seconds)


def test_retry_after_as_a_date() -> None:
    in_a_minute = email.utils.formatdate(time.time() + 60, usegmt=True)
    assert retry_after_s(in_a_minute) == pytest.approx(60, abs=5)
    assert retry_after_s("Fri, 01 Jan 2010 00:00:00 GMT") == 0


@pytest.mark.parametrize("copied", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_keeps_its_facts_in_copies_and_other_processes(copied) -> None:  # type: ignore[no-untyped-def]
    error = copied(TextTooLong("too long", status=413, request_id="id-1", index=5))
    assert (type(error), error.detail, error.status, error.request_id) == (TextTooLong, "too long", 413, "id-1")
    assert error.at(7).index == 7
    assert error.index == 5


def test_every_error_is_a_sentiment_error_and_is_published() -> None:
    def tree(kind: type[SentimentError]) -> set[type[SentimentError]]:
        return {kind}.union(*(tree(child) for child in kind.__subclasses__()))

    names = {kind.__name__ for kind in tree(SentimentError)}
    assert names <= {*rt_sentiment_client.__all__}
    assert all(f" {name} " in rt_sentiment_client.errors.__doc__ for name in names - {"SentimentError"})
