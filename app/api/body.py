"""From the bytes of a request to a validated model, in one step and within a bound."""

import asyncio
from collections.abc import Mapping
from typing import TypeVar

from fastapi import HTTPException, Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from ..errors import InvalidInput, TextTooLong
from .errors import BodyInvalid

M = TypeVar("M", bound=BaseModel)

Headers = Mapping[bytes, bytes]

ARRIVED = "arrived"  # in the state of a request's scope: whether all of its body has come


def check(headers: Headers, max_bytes: int) -> None:
    """Raise 415 unless they say that JSON comes, and `TextTooLong` when they say that it is over `max_bytes`."""
    media_type = headers.get(b"content-type", b"")
    if media_type != b"application/json" and media_type.partition(b";")[0].strip().lower() != b"application/json":
        raise HTTPException(415, "the content type must be application/json")
    compressed = headers.get(b"content-encoding", b"").strip().lower() not in (b"", b"identity")
    if compressed or headers.get(b"transfer-encoding", b"chunked").strip().lower() != b"chunked":
        raise HTTPException(415, "compressed bodies are not read")
    stated = headers.get(b"content-length", b"0").lstrip(b"0")
    if stated.isdigit():
        bound(int(stated[:20]), max_bytes)  # Python makes no number of thousands of digits


def bound(size: int, max_bytes: int) -> None:
    """Raise `TextTooLong` for a body of more than `max_bytes`."""
    if size > max_bytes:
        raise TextTooLong(f"the body is over {max_bytes} bytes")


async def read(request: Request, max_bytes: int, timeout_s: float) -> bytes:
    """Read a body. Raises `TextTooLong` as soon as it is over `max_bytes`, 408 when it is not there after `timeout_s`.

    And `ClientDisconnect` when its client leaves.
    """
    if request.scope["state"].get(ARRIVED):  # as often; a timer costs more than all else here
        return await _read(request, max_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            return await _read(request, max_bytes)
    except TimeoutError:
        raise HTTPException(408, "the body did not come in time", {"Connection": "close"}) from None


async def _read(request: Request, max_bytes: int) -> bytes:
    body = bytearray()
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        bound(len(body), max_bytes)
        more = message.get("more_body", False)
    return bytes(body)


def validated(model: type[M], body: bytes) -> M:
    """Validate a body as `model`; raise `BodyInvalid` when it doesn't fit.

    pydantic reads the bytes itself: half the time of parsing JSON first and validating the result.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise BodyInvalid.from_pydantic(error, model.model_fields) from None


def timeout_ms(headers: Headers, longest_ms: float) -> float:
    """The request's time in milliseconds: the server's, or less when the caller asks for less."""
    wanted = headers.get(b"x-request-timeout-ms")
    if wanted is None:
        return longest_ms
    wanted = wanted.strip()
    if not (wanted.isdigit() and len(wanted) <= 100 and int(wanted) > 0):
        raise InvalidInput("must be a whole number of milliseconds, 1 or more", ("header", "X-Request-Timeout-Ms"))
    return min(longest_ms, float(wanted))
