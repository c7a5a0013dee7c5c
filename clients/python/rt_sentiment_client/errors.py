"""The errors of the client, and which status of a response means which.

    SentimentError
    ├── InvalidRequest        the server refuses the request; another attempt would fail, too
    │   ├── InvalidText       … because of its text
    │   │   └── TextTooLong   … which is too long for a limit or for the model
    │   └── Unauthorized      … because the API key is missing or wrong
    ├── Overloaded            the server has too much work, or you are over your rate limit
    ├── Unavailable           no connection, or a server that is starting or shutting down
    │   └── UntrustedServer   … or whose certificate is not valid
    ├── DeadlineExceeded      no response in time
    ├── ServerError           the model failed, or the server has a bug
    └── UnexpectedResponse    a response that is not from rt-sentiment

No error contains a text.
"""

import copy
import email.utils
import json
import time
from collections.abc import Mapping
from typing import Any, TypeVar

E = TypeVar("E", bound="SentimentError")

PARTS_WITH_TEXT = (["body", "text"], ["body", "texts"])


class SentimentError(Exception):
    """Base of all errors of this client.

    `status` is that of the response, None if there was none. `request_id` finds the request in the server's log.
    `index` is the place of the text among those of `predict_many` or `stream`. `attempts` is the number of requests
    that were sent. `retry_after_s` is how long the server asked to wait.
    """

    # Whether another attempt may succeed.
    is_temporary = False

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        index: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.request_id = request_id
        self.index = index
        self.retry_after_s = retry_after_s
        self.attempts = 1

    def __str__(self) -> str:
        facts = {
            "status": self.status,
            "index": self.index,
            "attempts": self.attempts if self.attempts > 1 else None,
            "request id": self.request_id,
        }
        shown = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
        return f"{self.detail} ({shown})" if shown else self.detail

    def at(self: E, index: int) -> E:
        """Return the same error for the text with this index."""
        error = copy.copy(self)
        error.index = index
        error.__cause__ = self.__cause__
        return error


class InvalidRequest(SentimentError):
    """The server refuses the request. Another attempt would fail, too."""


class InvalidText(InvalidRequest):
    """The text has no visible character, is not a string, or has an incomplete surrogate pair."""


class TextTooLong(InvalidText):
    """The text is too long for a limit of the server or, with `truncate=False`, for the model."""


class Unauthorized(InvalidRequest):
    """The API key is missing (401) or not allowed to do this (403)."""


class Overloaded(SentimentError):
    """The server has too much work, or you are over your rate limit."""

    is_temporary = True


class Unavailable(SentimentError):
    """There is no connection, or the server is starting or shutting down."""

    is_temporary = True


class UntrustedServer(Unavailable):
    """The server's certificate is not valid. It stays so, and the request was not sent."""

    is_temporary = False


class DeadlineExceeded(SentimentError):
    """There was no response in time."""

    is_temporary = True


class ServerError(SentimentError):
    """The model failed on this text, or the server has a bug."""


class UnexpectedResponse(SentimentError):
    """The response is not from rt-sentiment: `base_url` may be wrong."""


_BY_STATUS: dict[int, type[SentimentError]] = {
    401: Unauthorized,
    403: Unauthorized,
    408: Unavailable,  # the request took too long to arrive
    413: TextTooLong,
    425: Overloaded,
    429: Overloaded,
    502: Unavailable,  # from proxies
    503: Unavailable,
    504: DeadlineExceeded,
}


def error_from_response(
    status: int, headers: Mapping[str, str], body: bytes, request_id: str | None = None
) -> SentimentError:
    """Return the error that a response means. `headers` ignore case; `request_id` is the one that was sent."""
    problem = _problem(headers, body)
    detail = problem.get("detail")
    stated_id = problem.get("request_id", headers.get("x-request-id"))
    if 300 <= status < 400:
        kind: type[SentimentError] = UnexpectedResponse
        detail = "the server redirects; use the address to which it does so as base_url"
    elif status == 422:
        kind = InvalidText if _is_about_text(problem) else InvalidRequest
    else:
        kind = _class_of(status)
    return kind(
        detail if isinstance(detail, str) else f"the server responded with status {status}",
        status=status,
        request_id=stated_id if isinstance(stated_id, str) else request_id,
        retry_after_s=retry_after_s(headers.get("retry-after")),
    )


def error_in_place(error: object, request_id: str | None) -> SentimentError:
    """Return the error that the server has put in the place of a text: `{"status", "detail"}`."""
    if not isinstance(error, dict) or not isinstance(status := error.get("status"), int):
        raise UnexpectedResponse("the response has an error without a status", request_id=request_id)
    kind = InvalidText if status == 422 else _class_of(status)
    detail = error.get("detail")
    if not isinstance(detail, str):
        detail = f"the text has an error with status {status}"
    return kind(detail, status=status, request_id=request_id)


def retry_after_s(value: str | None) -> float | None:
    """Return the seconds of a `Retry-After` header, which has a number or a date; None if it has neither."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _class_of(status: int) -> type[SentimentError]:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 400 <= status < 500:
        return InvalidRequest
    return ServerError if 500 <= status < 600 else UnexpectedResponse


def _problem(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return what a response in the format of RFC 9457 says; nothing if it is in another format."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/problem+json":
        return {}
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _is_about_text(problem: Mapping[str, Any]) -> bool:
    errors = problem.get("errors")
    if not isinstance(errors, list) or not errors:
        return False
    locations = [error.get("loc") for error in errors if isinstance(error, dict)]
    return all(isinstance(loc, list) and loc[:2] in PARTS_WITH_TEXT for loc in locations)
