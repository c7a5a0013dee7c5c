"""Responses whose content is made while it is sent."""

from collections.abc import AsyncGenerator, Mapping

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class GeneratedResponse(StreamingResponse):
    """Sends what a generator yields, and closes it in any case.

    starlette leaves one to the garbage collector if the client goes away while something is being sent to it.
    """

    def __init__(
        self, content: AsyncGenerator[bytes, None], media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(content, media_type=media_type, headers=headers)
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._content.aclose()
