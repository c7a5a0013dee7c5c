"""Compressed bodies: gzip, and deflate in the format of zlib. A body is decompressed in small pieces as it is read."""

import asyncio
import zlib

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from ...errors import MalformedBody, TextTooLong

_FORMATS = {"gzip": 31, "deflate": 15}  # zlib's numbers for them
ENCODINGS = "the content encoding must be gzip or deflate"
_PIECE_BYTES = 64 * 1024


def decompressed(receive: Receive, encoding: bytes, max_bytes: int) -> Receive:
    """Return a `receive` that decompresses a body. It raises `TextTooLong` if more than `max_bytes` arrive.

    Who reads limits the decompressed bytes: no piece is larger than 64 KiB. Raises `MalformedBody` if the body is not
    what the encoding says, and 415 if there is no such encoding.
    """
    name = encoding.decode("latin-1")
    if name not in _FORMATS:
        raise HTTPException(415, ENCODINGS)
    decoder = zlib.decompressobj(_FORMATS[name])
    compressed, arrived, more, is_full = b"", 0, True, False

    async def receive_decompressed() -> Message:
        nonlocal compressed, arrived, more, is_full
        while True:
            if is_full:
                await asyncio.sleep(0)  # other requests take turns with a body that becomes much larger
            elif more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                compressed, more = message.get("body", b""), message.get("more_body", False)
                arrived += len(compressed)
                if arrived > max_bytes:
                    raise TextTooLong(f"the body is larger than {max_bytes} bytes")
            if decoder.eof and compressed:
                raise MalformedBody(f"something follows the {name} data of the body")
            try:
                piece = decoder.decompress(compressed, _PIECE_BYTES)
            except zlib.error:
                raise MalformedBody(f"the body is not valid {name} data") from None
            compressed = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            is_full = bool(compressed) or (len(piece) == _PIECE_BYTES and not decoder.eof)
            if not (is_full or more or decoder.eof):
                raise MalformedBody(f"the {name} data of the body is incomplete")
            if piece or not (is_full or more):
                return {"type": "http.request", "body": piece, "more_body": is_full or more}

    return receive_decompressed


def accepted_encoding(header: bytes) -> str | None:
    """Return the compression that a client accepts, by its `Accept-Encoding`; None if it accepts none of ours."""
    accepted = {}
    for item in header.decode("latin-1").lower().split(","):
        name, _, quality = item.partition(";")
        accepted[name.strip()] = quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return next((name for name in _FORMATS if accepted.get(name, False)), None)


def compress(content: bytes, encoding: str) -> bytes:
    """Compress a response."""
    encoder = zlib.compressobj(1, wbits=_FORMATS[encoding])
    return encoder.compress(content) + encoder.flush()
