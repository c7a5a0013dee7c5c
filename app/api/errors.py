"""Errors as problem+json (RFC 9457). One table maps each error to a status code."""

import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Self

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..errors import (
    BackendError,
    BodiesFull,
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    NotReady,
    Overloaded,
    RateLimited,
    SentimentError,
    TextTooLong,
)
from ..logs import log, log_exception
from .context import context_of

# type → (status, title); the first match counts.
STATUS: tuple[tuple[type[SentimentError], int, str], ...] = (
    (TextTooLong, 413, "Content Too Large"),
    (InvalidInput, 422, "Unprocessable Content"),
    (NotFound, 404, "Not Found"),
    (Conflict, 409, "Conflict"),
    (RateLimited, 429, "Too Many Requests"),
    (Overloaded, 429, "Overloaded"),
    (NotReady, 503, "Not Ready"),
    (BodiesFull, 503, "Overloaded"),
    (DeadlineExceeded, 504, "Deadline Exceeded"),
    (BackendError, 500, "Internal Server Error"),
    (SentimentError, 500, "Internal Server Error"),
)

_NO_PATH = "this path does not exist"
_MODEL_FAILED = "the model failed on this text"
_MAX_ERRORS = 20  # in one response
PLACE = re.compile(r"line (\d+) column (\d+)")


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
    """The JSON of a body does not match. `errors` are pydantic's, `fields` the names that the body may have."""

    def __init__(self, errors: list[ErrorDetails], fields: Iterable[str] = (), *, is_utf8: bool = True) -> None:
        super().__init__("the body does not match the schema")
        self.errors = errors
        self.fields = sorted(fields)
        self.is_utf8 = is_utf8

    @classmethod
    def from_pydantic(cls, error: ValidationError, fields: Iterable[str]) -> Self:
        """Keep what is wrong and where, and drop the input."""
        if error.error_count() > _MAX_ERRORS:
            return cls.with_too_many_errors()
        return cls(error.errors(include_url=False, include_context=False, include_input=False), fields)

    @classmethod
    def from_syntax(cls, msg: str, *, is_utf8: bool) -> Self:
        """The body is not JSON; `msg` is pydantic's."""
        return cls([_error("json_invalid", (), msg)], is_utf8=is_utf8)

    @classmethod
    def with_unknown_field(cls, fields: Iterable[str]) -> Self:
        return cls([_error("extra_forbidden", ("",))], fields)

    @classmethod
    def with_too_many_bytes(cls, loc: tuple[str | int, ...], limit: int) -> Self:
        return cls([_error("too_large", loc, f"Input has more than {limit} bytes that are not a text")])

    @classmethod
    def with_too_many_errors(cls) -> Self:
        return cls([_error("too_many_errors", (), f"more than {_MAX_ERRORS} parts of the body are invalid")])

    @property
    def is_incomplete(self) -> bool:
        """Whether the body may be valid if more of it came."""
        messages = [error["msg"] for error in self.errors if error["type"] == "json_invalid"]
        return all(not message or message.startswith("EOF ") for message in messages)


def _error(kind: str, loc: tuple[str | int, ...], msg: str = "") -> ErrorDetails:
    return {"type": kind, "loc": loc, "msg": msg, "input": None}


def respond_to(request_id: str, error: BaseException) -> Response | None:
    """Return the response to an error, or None if errors of this type are unexpected."""
    for kind, respond in _RESPONSES.items():
        if isinstance(error, kind):
            return respond(request_id, error)
    return None


def unexpected(request_id: str, error: BaseException) -> Response:
    """Log an unexpected error and return the response to it."""
    log_exception("unexpected error", error, request_id=request_id)
    return _internal_error(request_id)


def no_such_path(request_id: str) -> Response:
    """Return the response to a path that does not exist."""
    return problem(request_id, 404, "Not Found", _NO_PATH)


def shutting_down(request_id: str) -> Response:
    """Return the response to a request that the shutdown interrupts."""
    headers = {"Retry-After": "1", "Connection": "close"}
    return problem(request_id, 503, "Not Ready", "the server is shutting down", headers=headers)


def install_errors(app: FastAPI) -> None:
    """Give errors of FastAPI's routes the same format as all others."""

    async def handle(request: Request, error: Exception) -> Response:
        request_id = context_of(request.scope).request_id
        # starlette raises unexpected errors again, and the middleware logs them.
        return respond_to(request_id, error) or _internal_error(request_id)

    for kind in (*_RESPONSES, Exception):
        app.add_exception_handler(kind, handle)


def _internal_error(request_id: str) -> Response:
    return problem(request_id, 500, "Internal Server Error", "the server failed to answer this request")


def render_failure(error: SentimentError) -> dict[str, Any]:
    """Return what takes the place of a prediction if only this text has failed."""
    status, _ = _status_of(error)
    return {"error": {"status": status, "detail": str(error) if status < 500 else _MODEL_FAILED}}


def log_failure(request_id: str, error: SentimentError, texts: int = 1) -> None:
    """Log that the model failed on this many texts of a request; `error` is that of one of them."""
    cause = error.__cause__ or error
    log(logging.ERROR, "prediction failed", request_id=request_id, error=type(cause).__qualname__, texts=texts)


def _status_of(error: BaseException) -> tuple[int, str]:
    return next((status, title) for kind, status, title in STATUS if isinstance(error, kind))


def _on_sentiment_error(request_id: str, error: BaseException) -> Response:
    assert isinstance(error, SentimentError)
    status, title = _status_of(error)
    headers = {}
    errors = None
    detail = str(error)
    if isinstance(error, Overloaded | NotReady | BodiesFull):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, NotReady):
        headers["Connection"] = "close"  # a proxy then sends its next request to another replica
    if status == 500:
        log_failure(request_id, error)
        detail = "the server failed to answer this request"
    if isinstance(error, InvalidInput):
        detail = f"{_path(error.loc)}: {error}" if error.loc else detail
        errors = [{"loc": list(error.loc), "msg": str(error)}] if status == 422 else None
    if isinstance(error, BackendError) and error.loc and isinstance(error.loc[-1], int):  # a text of a list
        detail = f"{_path(error.loc)}: {_MODEL_FAILED}"
    return problem(request_id, status, title, detail, errors=errors, headers=headers)


def _on_body_invalid(request_id: str, error: BaseException) -> Response:
    assert isinstance(error, BodyInvalid)
    if syntax_error := next((item for item in error.errors if item["type"] == "json_invalid"), None):
        return problem(
            request_id, 400, "Bad Request", _describe_syntax_error(syntax_error["msg"], is_utf8=error.is_utf8)
        )
    errors = [_without_input(item, error.fields) for item in error.errors]
    first = errors[0]
    detail = f"{_path(first['loc'])}: {first['msg']}"
    return problem(request_id, 422, "Unprocessable Content", detail, errors=errors)


def _on_request_invalid(request_id: str, error: BaseException) -> Response:
    """Answer a path, a query or headers that do not match the route."""
    assert isinstance(error, RequestValidationError)
    errors = [{"loc": list(item["loc"]), "msg": item["msg"]} for item in error.errors()[:_MAX_ERRORS]]
    detail = f"{_path(errors[0]['loc'])}: {errors[0]['msg']}"
    return problem(request_id, 422, "Unprocessable Content", detail, errors=errors)


def _path(loc: Iterable[str | int]) -> str:
    return ".".join(map(str, loc))


def _describe_syntax_error(msg: str, *, is_utf8: bool) -> str:
    if not is_utf8:
        return "the body is not valid JSON: its encoding is not UTF-8"
    place = PLACE.search(msg)
    why = "the body is not valid JSON" + (": incomplete escape or surrogate pair" if "hex escape" in msg else "")
    return f"{why}, at {place[0]}" if place else why


def _without_input(item: ErrorDetails, fields: list[str]) -> dict[str, Any]:
    """Return one of pydantic's errors without anything that the client wrote, such as the name of an unknown field."""
    loc = item["loc"][:-1] if item["type"] == "extra_forbidden" else item["loc"]
    msg = f"unknown field; expected {', '.join(fields)}" if item["type"] == "extra_forbidden" else item["msg"]
    return {"loc": ["body", *loc], "msg": msg}


def _on_http_exception(request_id: str, error: BaseException) -> Response:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    detail = {404: _NO_PATH, 405: "this path does not support this method"}.get(error.status_code, str(error.detail))
    return problem(request_id, error.status_code, title, detail, headers=error.headers)


def _on_disconnect(_request_id: str, _error: BaseException) -> Response:
    return Response(status_code=499)  # for the log and the metrics: nginx's status


_RESPONSES: dict[type[Exception], Callable[[str, BaseException], Response]] = {
    SentimentError: _on_sentiment_error,
    BodyInvalid: _on_body_invalid,
    HTTPException: _on_http_exception,
    RequestValidationError: _on_request_invalid,
    ClientDisconnect: _on_disconnect,
}
