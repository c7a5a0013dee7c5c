"""What a request says: its headers, and its body from JSON to a validated model."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from ..errors import InvalidInput, TextTooLong
from ..types import Text
from .invalid import BodyInvalid

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

Headers = Mapping[bytes, bytes]

COMPRESSED = "compressed bodies are not supported"
_JSON = (b"application/json",)


def check_media_type(headers: Headers, accepted: Sequence[bytes] = _JSON) -> None:
    """Raise 415 unless the body has one of these types, and is not compressed. The error names the first one."""
    _check_type(headers, accepted)
    _check_transfer(headers)


def _check_type(headers: Headers, accepted: Sequence[bytes]) -> None:
    media_type = headers.get(b"content-type", b"")
    if media_type not in accepted and media_type.partition(b";")[0].strip().lower() not in accepted:
        raise HTTPException(415, f"the content type must be {accepted[0].decode()}")
    if content_encoding(headers):
        raise HTTPException(415, COMPRESSED)


def check_headers(headers: Headers, max_bytes: int) -> None:
    """Raise 415 unless the body is plain JSON, and `TextTooLong` if the stated length is over `max_bytes`."""
    _check_type(headers, _JSON)
    check_length(headers, max_bytes)


def content_encoding(headers: Headers) -> bytes:
    """Return how the body is compressed, in lower case; nothing if it is not."""
    encoding = headers.get(b"content-encoding", b"").strip().lower()
    return b"" if encoding == b"identity" else encoding


def check_length(headers: Headers, max_bytes: int) -> None:
    """Raise 415 for a compressed transfer, and `TextTooLong` if the stated length is over `max_bytes`."""
    _check_transfer(headers)
    stated = headers.get(b"content-length", b"0").lstrip(b"0")
    if stated.isdigit() and int(stated[:20]) > max_bytes:  # Python refuses to parse thousands of digits
        raise TextTooLong(f"the body is larger than {max_bytes} bytes")


def _check_transfer(headers: Headers) -> None:
    if headers.get(b"transfer-encoding", b"chunked").strip().lower() != b"chunked":
        raise HTTPException(415, COMPRESSED)


def validate(model: type[M], value: object) -> M:
    """Validate what a body says; raise `BodyInvalid` if it does not match `model`.

    Of the texts in a list, pydantic gets only the first characters, because it would keep another copy of each. They
    stay packed.
    """
    lists = {name: each for name, each in value.items() if isinstance(each, list)} if isinstance(value, dict) else {}
    if isinstance(value, dict):
        value = value | {name: [_start_of(each) for each in texts] for name, texts in lists.items()}
    try:
        request = model.model_validate_json(to_json(value, inf_nan_mode="constants"))
    except ValidationError as error:
        raise BodyInvalid.from_pydantic(error, model.model_fields) from None
    return request.model_copy(update=lists)


def _start_of(text: object) -> str | None:
    if isinstance(text, bytes):
        return "x"
    return text[:1] if isinstance(text, str) else None


def valid_text(value: object) -> Text | InvalidInput:
    """Return an element of a list if it is a text, or what is wrong with it."""
    return value if isinstance(value, Text | InvalidInput) else InvalidInput("the text is not a string")


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
