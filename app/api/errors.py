"""Errors as problem+json (RFC 9457). One table maps each error to a status code."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from ..errors import (
    BackendError,
    BodiesFull,
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    MalformedBody,
    NotFound,
    NotReady,
    Overloaded,
    RateLimited,
    SentimentError,
    TextTooLong,
)
from ..logs import log, log_exception
from .context import context_of
from .invalid import MAX_ERRORS, BodyInvalid, path_of

# type → (status, title); the first match counts.
STATUS: tuple[tuple[type[SentimentError], int, str], ...] = (
    (MalformedBody, 400, "Bad Request"),
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

_status_of_kind: dict[type[BaseException], tuple[int, str]] = {}

_NO_PATH = "this path does not exist"
_MODEL_FAILED = "the model failed on this text"


class Problem(Response):
    """An error as `application/problem+json` (RFC 9457), or as `{"error": "…"}` for a client of another protocol."""

    def __init__(self, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(orjson.dumps(content), content["status"], dict(headers or {}), "application/problem+json")
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = context_of(scope)
        if context.has_plain_errors(scope["method"], context.path or scope["path"]):
            self.headers["content-type"] = "application/json"
            self._replace({"error": self._content["detail"]})
        elif context.trace:
            self._replace({**self._content, "trace_id": context.trace.trace_id})
        await super().__call__(scope, receive, send)

    def _replace(self, content: Mapping[str, Any]) -> None:
        self.body = orjson.dumps(content)
        self.headers["content-length"] = str(len(self.body))


def problem(
    request_id: str,
    status: int,
    title: str,
    detail: str,
    *,
    errors: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the response to a request that fails."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
    if errors is not None:
        content["errors"] = errors
    return Problem(content, headers)


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


def install_errors(app: FastAPI, routers: Sequence[Router]) -> None:
    """Give errors of FastAPI's routes the same format as all others. `routers` have all routes."""

    async def handle(request: Request, error: Exception) -> Response:
        context = context_of(request.scope)
        # starlette raises unexpected errors again, and the middleware logs them.
        response = respond_to(context.request_id, error) or _internal_error(context.request_id)
        if response.status_code == 405:  # starlette names only the methods of one of the routes with this path
            every = [each for router in routers for each in router.routes if isinstance(each, Route)]
            methods = {method for each in every if each.path == context.route for method in each.methods or ()}
            response.headers["Allow"] = ", ".join(sorted(methods))
        return response

    for kind in (*_RESPONSES, Exception):
        app.add_exception_handler(kind, handle)


def _internal_error(request_id: str) -> Response:
    return problem(request_id, 500, "Internal Server Error", "the server failed to answer this request")


def failure_of(error: SentimentError | BodyInvalid) -> tuple[int, str]:
    """Return the status and the detail of a text that has no prediction, as part of a response about several texts."""
    if isinstance(error, BodyInvalid):
        return error.describe("line")
    status, _ = _status_of(error)
    return status, _MODEL_FAILED if status == 500 else str(error)


def render_failure(error: SentimentError) -> dict[str, Any]:
    """Return what takes the place of a prediction if only this text has failed."""
    status, detail = failure_of(error)
    return {"error": {"status": status, "detail": detail}}


def log_failure(request_id: str, error: SentimentError, texts: int = 1) -> None:
    """Log that the model failed on this many texts of a request; `error` is that of one of them."""
    cause = error.__cause__ or error
    log(logging.ERROR, "prediction failed", request_id=request_id, error=type(cause).__qualname__, texts=texts)


def _status_of(error: BaseException) -> tuple[int, str]:
    kind = type(error)
    if kind not in _status_of_kind:  # under overload, most responses are errors
        _status_of_kind[kind] = next((status, title) for base, status, title in STATUS if issubclass(kind, base))
    return _status_of_kind[kind]


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
        detail = f"{path_of(error.loc)}: {error}" if error.loc else detail
        errors = [{"loc": list(error.loc), "msg": str(error)}] if status == 422 else None
    if isinstance(error, BackendError) and error.loc and isinstance(error.loc[-1], int):  # a text of a list
        detail = f"{path_of(error.loc)}: {_MODEL_FAILED}"
    return problem(request_id, status, title, detail, errors=errors, headers=headers)


def _on_body_invalid(request_id: str, error: BaseException) -> Response:
    assert isinstance(error, BodyInvalid)
    status, detail = error.describe(error.part)
    if status == 400:
        return problem(request_id, status, "Bad Request", detail)
    errors = error.render()
    detail = f"{path_of(errors[0]['loc'])}: {errors[0]['msg']}"
    return problem(request_id, 422, "Unprocessable Content", detail, errors=errors)


def _on_request_invalid(request_id: str, error: BaseException) -> Response:
    """Answer a path, a query or headers that do not match the route."""
    assert isinstance(error, RequestValidationError)
    errors = [{"loc": list(item["loc"]), "msg": item["msg"]} for item in error.errors()[:MAX_ERRORS]]
    detail = f"{path_of(errors[0]['loc'])}: {errors[0]['msg']}"
    return problem(request_id, 422, "Unprocessable Content", detail, errors=errors)


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
