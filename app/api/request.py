"""The body of a request: from bytes to a validated model, with size limits."""

import asyncio
import json
import re
from codecs import BOM_UTF8
from collections.abc import Awaitable, Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from ..errors import InvalidInput, TextTooLong
from .errors import BodyInvalid

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

Headers = Mapping[bytes, bytes]

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # half of a pair, as JSON writes it


def check_headers(headers: Headers, max_bytes: int) -> None:
    """Raise 415 unless the body is plain JSON, and `TextTooLong` if the stated length is over `max_bytes`."""
    media_type = headers.get(b"content-type", b"")
    if media_type != b"application/json" and media_type.partition(b";")[0].strip().lower() != b"application/json":
        raise HTTPException(415, "the content type must be application/json")
    compressed = headers.get(b"content-encoding", b"").strip().lower() not in (b"", b"identity")
    if compressed or headers.get(b"transfer-encoding", b"chunked").strip().lower() != b"chunked":
        raise HTTPException(415, "compressed bodies are not supported")
    stated = headers.get(b"content-length", b"0").lstrip(b"0")
    if stated.isdigit():
        _check_size(int(stated[:20]), max_bytes)  # Python refuses to parse thousands of digits


async def read_body(receive: Receive, max_bytes: int) -> bytes:
    """Read a body, without a byte order mark. The server limits the time that it may take.

    Raises `TextTooLong` as soon as it is over `max_bytes`, and `ClientDisconnect` if the client leaves.
    """
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        _check_size(len(body), max_bytes)
        more = message.get("more_body", False)
    return bytes(body).removeprefix(BOM_UTF8)


def validate(model: type[M], body: bytes) -> M:
    """Validate a body; raise `BodyInvalid` if it does not match `model`.

    pydantic parses the bytes itself, which takes half the time of parsing first and validating the result.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise BodyInvalid.from_pydantic(error, model.model_fields, is_utf8=_is_utf8(body)) from None


def validate_partial(model: type[M], body: bytes) -> M | None:
    """Validate a body that `validate` has refused, if it says `"partial": true`; otherwise return None.

    A lone surrogate is accepted, so that it fails only its own text. Raises `BodyInvalid` as `validate` does.
    """
    if b'"partial"' not in body:
        return None
    try:
        try:
            return model.model_validate_json(body)
        except ValidationError:
            if not _SURROGATE.search(body):
                raise
            return model.model_validate(json.loads(body.decode()))  # slower, but takes lone surrogates
    except ValidationError as error:
        invalid = BodyInvalid.from_pydantic(error, model.model_fields)
    except (ValueError, RecursionError):
        return None
    if any(each["loc"] == ("partial",) or each["type"] == "json_invalid" for each in invalid.errors):
        return None
    raise invalid


def valid_text(value: object) -> str | InvalidInput:
    """Return a part of a list if it is a string of Unicode characters, or what is wrong with it."""
    if not isinstance(value, str):
        return InvalidInput("the text is not a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        return InvalidInput("the text has an incomplete surrogate pair")
    return value


def timeout_ms(headers: Headers, max_ms: float) -> float:
    """Return the time limit of a request in milliseconds: the server's, or the client's if that is lower."""
    stated = headers.get(b"x-request-timeout-ms")
    if stated is None:
        return max_ms
    stated = stated.strip()
    if not (stated.isdigit() and len(stated) <= 100 and int(stated) > 0):
        raise InvalidInput("must be a whole number of milliseconds, 1 or more", ("header", "X-Request-Timeout-Ms"))
    return min(max_ms, float(stated))


async def unless_disconnected(receive: Receive, work: Awaitable[T]) -> T:
    """Return the result of `work`; cancel it and raise `ClientDisconnect` if the client leaves before it is done.

    The whole body must have been read.
    """
    current = asyncio.current_task()
    assert current is not None
    cancelled_before = current.cancelling()
    is_waiting, has_left = True, False

    def cancel(watcher: asyncio.Task[None]) -> None:
        nonlocal has_left
        if is_waiting and not watcher.cancelled():
            watcher.exception()  # some servers raise instead of sending a disconnect message
            has_left = True
            current.cancel()

    watcher = asyncio.create_task(_disconnected(receive))
    watcher.add_done_callback(cancel)
    try:
        return await work
    except asyncio.CancelledError:
        if has_left and current.uncancel() <= cancelled_before:  # otherwise the server cancels the request, too
            raise ClientDisconnect from None
        raise
    finally:
        is_waiting = False  # removing the callback is not enough: the loop may be about to call it
        watcher.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _is_utf8(body: bytes) -> bool:
    if b"\0" in body[:4]:  # JSON in UTF-16 or UTF-32, which may be valid UTF-8, too
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise TextTooLong(f"the body is larger than {max_bytes} bytes")
