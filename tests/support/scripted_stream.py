"""Replies to `POST /predict/stream`, by the contract, and with faults."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

from tests.support.scripted import PREDICTION, Reply, Request

Answer = Callable[[dict[str, Any]], dict[str, Any]]

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nx-model: m@1\r\ntransfer-encoding: chunked\r\n\r\n"


def echo_line(line: dict[str, Any]) -> dict[str, Any]:
    """Answer a line: the label is the text."""
    return {"id": line["id"]} | PREDICTION | {"label": line["text"]}


def _write(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(content), content))


def stream(answer: Answer = echo_line, *, ends_after: int | None = None, breaks_after: int | None = None) -> Reply:
    """Answer each line as it arrives, up to a number after which the response ends or the connection breaks."""

    async def reply(request: Request, writer: asyncio.StreamWriter) -> bool:
        writer.write(_HEAD)
        count = 0
        async for line in request.lines:
            if count == breaks_after:
                _write(writer, b'{"id": ')
                await writer.drain()
                return False
            if count == ends_after:
                break
            count += 1
            _write(writer, json.dumps(answer(json.loads(line))).encode() + b"\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return ends_after is None

    return reply


async def buffered_stream(request: Request, writer: asyncio.StreamWriter) -> bool:
    """Answer when the request is complete, like a proxy that buffers."""
    lines = [line async for line in request.lines]
    writer.write(_HEAD)
    for line in lines:
        _write(writer, json.dumps(echo_line(json.loads(line))).encode() + b"\n")
    writer.write(b"0\r\n\r\n")
    return True


async def frozen_stream(request: Request, writer: asyncio.StreamWriter) -> bool:
    """Read, and never answer."""
    writer.write(_HEAD)
    with contextlib.suppress(asyncio.IncompleteReadError):
        async for _ in request.lines:
            pass
    await asyncio.Event().wait()
    return False
