"""Errors to problem+json: one table says which status each becomes."""

import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..errors import (
    BackendError,
    DeadlineExceeded,
    InvalidInput,
    NotReady,
    Overloaded,
    RateLimited,
    SentimentError,
    TextTooLong,
)
from ..logs import log, log_exception

# type → (status, title); the first that fits counts.
STATUS: tuple[tuple[type[SentimentError], int, str], ...] = (
    (TextTooLong, 413, "Content Too Large"),
    (InvalidInput, 422, "Unprocessable Content"),
    (RateLimited, 429, "Too Many Requests"),
    (Overloaded, 429, "Overloaded"),
    (NotReady, 503, "Not Ready"),
    (DeadlineExceeded, 504, "Deadline Exceeded"),
    (BackendError, 500, "Internal Server Error"),
    (SentimentError, 500, "Internal Server Error"),
)

_MOST_ERRORS = 20  # that one answer lists
_PLACE = re.compile(r"line \d+ column \d+")


def problem(
    request_id: str,
    status: int,
    title: str,
    detail: str,
    *,
    errors: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an `application/problem+json` response (RFC 9457)."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
    if errors is not None:
        content["errors"] = errors
    return Response(orjson.dumps(content), status, dict(headers or {}), "application/problem+json")


class BodyInvalid(Exception):
    """The JSON of a body doesn't fit; `errors` are pydantic's, `known` the fields that it may have."""

    def __init__(self, errors: list[ErrorDetails], known: Iterable[str] = ()) -> None:
        super().__init__("the body does not fit")
        self.errors = errors
        self.known = sorted(known)

    @classmethod
    def from_pydantic(cls, error: ValidationError, known: Iterable[str]) -> "BodyInvalid":
        """Keep what is wrong and where, drop the input."""
        if error.error_count() > _MOST_ERRORS:
            msg = f"{error.error_count()} parts of the body are wrong"
            return cls([{"type": "too_many_errors", "loc": (), "msg": msg, "input": None}])
        return cls(error.errors(include_url=False, include_context=False, include_input=False), known)


def answer(request_id: str, error: BaseException) -> Response:
    """Return what answers an error of a request; raise those that nobody expects."""
    for kind, respond in _ANSWERS.items():
        if isinstance(error, kind):
            return respond(request_id, error)
    raise error


def unexpected(request_id: str, error: BaseException) -> Response:
    """Log an error that nobody expects, and return what answers it."""
    log_exception("unexpected error", error, request_id=request_id)
    return problem(request_id, 500, "Internal Server Error", "the server failed to answer this request")


def ending(request_id: str) -> Response:
    """Return what answers a request that the end of the process has cut short."""
    headers = {"Retry-After": "1", "Connection": "close"}
    return problem(request_id, 503, "Not Ready", "the server is shutting down", headers=headers)


def install(app: FastAPI) -> None:
    """Have `app` answer every error in the one shape."""

    async def handle(request: Request, error: Exception) -> Response:
        return answer(request.state.id, error)

    for kind in _ANSWERS:
        app.add_exception_handler(kind, handle)


def _on_sentiment_error(request_id: str, error: BaseException) -> Response:
    status, title = next((status, title) for kind, status, title in STATUS if isinstance(error, kind))
    headers = {}
    errors = None
    detail = str(error)
    if isinstance(error, Overloaded | NotReady):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, NotReady):
        headers["Connection"] = "close"  # so that a proxy's next request goes to another replica
    if isinstance(error, InvalidInput):
        if error.loc:
            detail = f"{'.'.join(map(str, error.loc))}: {error}"
        errors = [{"loc": list(error.loc), "msg": str(error)}] if status == 422 else None
    if status == 500:
        cause = error.__cause__ or error
        log(logging.ERROR, "prediction failed", request_id=request_id, error=type(cause).__qualname__)
        detail = "the server failed to answer this request"
    return problem(request_id, status, title, detail, errors=errors, headers=headers)


def _on_body_invalid(request_id: str, error: BaseException) -> Response:
    assert isinstance(error, BodyInvalid)
    if found := next((item for item in error.errors if item["type"] == "json_invalid"), None):
        return problem(request_id, 400, "Bad Request", _why_no_json(found["msg"]))
    errors = [_safe(item, error.known) for item in error.errors]
    first = errors[0]
    where = ".".join(map(str, first["loc"]))
    detail = f"{where}: {first['msg']}"
    return problem(request_id, 422, "Unprocessable Content", detail, errors=errors)


def _why_no_json(msg: str) -> str:
    place = _PLACE.search(msg)
    why = "the body is not valid JSON" + (": half of a surrogate pair, or of an escape" if "hex escape" in msg else "")
    return f"{why}, at {place[0]}" if place else why


def _safe(item: ErrorDetails, known: list[str]) -> dict[str, Any]:
    """One of pydantic's errors without anything that the caller wrote: an unknown field's name is the caller's."""
    loc = item["loc"][:-1] if item["type"] == "extra_forbidden" else item["loc"]
    msg = f"unknown field; there are {', '.join(known)}" if item["type"] == "extra_forbidden" else item["msg"]
    return {"loc": ["body", *loc], "msg": msg}


def _on_http_exception(request_id: str, error: BaseException) -> Response:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    detail = {404: "there is no such path", 405: "the path is there, but not for this method"}.get(
        error.status_code, str(error.detail)
    )
    return problem(request_id, error.status_code, title, detail, headers=error.headers)


def _on_disconnect(_request_id: str, _error: BaseException) -> Response:
    return Response(status_code=499)  # nobody reads it; the log and the metrics have nginx's code for it


_ANSWERS: dict[type[Exception], Callable[[str, BaseException], Response]] = {
    SentimentError: _on_sentiment_error,
    BodyInvalid: _on_body_invalid,
    HTTPException: _on_http_exception,
    ClientDisconnect: _on_disconnect,
}
