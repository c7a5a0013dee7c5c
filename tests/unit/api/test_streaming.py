"""A response whose client goes away while it is sent."""

import asyncio
from collections.abc import AsyncGenerator

from starlette.types import Message

from app.api.streaming import GeneratedResponse


async def test_a_generator_is_closed_when_its_client_goes_away() -> None:
    is_closed, is_sending = False, asyncio.Event()

    async def content() -> AsyncGenerator[bytes, None]:
        nonlocal is_closed
        try:
            yield b"x"
        finally:
            is_closed = True

    async def receive() -> Message:
        await is_sending.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            is_sending.set()
            await asyncio.Event().wait()  # the client does not read

    scope = {"type": "http", "method": "GET", "asgi": {"spec_version": "2.3"}}
    await GeneratedResponse(content(), "text/plain")(scope, receive, send)
    assert is_closed
