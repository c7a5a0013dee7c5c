"""One request that takes the short way, and its answer."""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Any

from starlette.responses import Response
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ..logs import log, log_exception
from . import context, errors
from .context import STATUS, Header
from .endpoint import Asked, Endpoint
from .express import Express
from .gates import ask

_CLOSE = (b"connection", b"close")


class _Nobody:
    """Who waits for more of a body that has come."""

    def set(self) -> None:
        """Wake them."""


class Exchange:
    """Answers a request that has come as a whole. To its connection it is what a cycle of uvicorn's would be."""

    __slots__ = (
        "_connection",
        "_endpoint",
        "_express",
        "_task",
        "disconnected",
        "keep_alive",
        "response_complete",
        "scope",
    )
    more_body = False  # all of it has come
    message_event = _Nobody()

    def __init__(self, express: Express, endpoint: Endpoint[Any], connection: HttpToolsProtocol) -> None:
        self._express = express
        self._endpoint = endpoint
        self._connection = connection
        self._task: asyncio.Task[None] | None = None
        self.scope: Scope = connection.scope  # type: ignore[assignment]
        self.keep_alive: bool = connection.parser.should_keep_alive()
        self.disconnected = self.response_complete = False

    def run(self, content: bytes) -> None:
        """Answer in this step of the event loop or, where there is something to wait for, in a task."""
        try:
            found = self._at_once(content)
        except BaseException as error:  # a library's panic is no Exception, and nobody else would answer
            found = self._failure(error)
        if isinstance(found, Response):
            self._send(found)
            return
        self._task = asyncio.get_running_loop().create_task(self._answer(found))
        self._connection.tasks.add(self._task)
        self._task.add_done_callback(self._done)

    def leave(self) -> None:
        """The client has left."""
        self.disconnected = True
        if self._task:
            self._task.cancel()

    def _at_once(self, content: bytes) -> Response | Asked[Any]:
        if (refused := ask(self._express.gates, self.scope)) is not None:
            return refused
        asked = self._endpoint.understand(self.scope, content)
        return self._endpoint.at_once(asked) or asked

    async def _answer(self, asked: Asked[Any]) -> None:
        try:
            response = await self._endpoint.answer(asked)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            response = self._failure(error)
        self._send(response)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._connection.tasks.discard(task)
        if task.cancelled():  # its client left, or the server ends and has waited long enough
            self._send(errors.ending(self.scope["state"]["id"]))

    def _failure(self, error: BaseException) -> Response:
        request_id = self.scope["state"]["id"]
        try:
            return errors.answer(request_id, error)
        except BaseException:
            return errors.unexpected(request_id, error)

    def _send(self, response: Response) -> None:
        if not self.disconnected:
            self.scope["state"][STATUS] = response.status_code
            headers = [*self._connection.server_state.default_headers, *response.raw_headers]
            headers += context.common_headers(self.scope)
            if _CLOSE in headers:
                self.keep_alive = False
            elif not self.keep_alive:
                headers.append(_CLOSE)
            self._connection.transport.write(rendered(response, headers))
            self.response_complete = True
            if not self.keep_alive:
                self._connection.transport.close()
        try:
            seconds = time.perf_counter() - self.scope["state"]["started_s"]
            self._express.observer.answered("POST", self._endpoint.path, context.status_of(self.scope), seconds)
            context.end(self.scope, self._endpoint.path)
        except Exception as error:  # the client has its answer, and whatever it sent next waits for this one
            log_exception("unexpected error", error, request_id=self.scope["state"]["id"])
        if not self.disconnected:
            self._connection.on_response_complete()


def rendered(response: Response, headers: Iterable[Header]) -> bytes:
    """An answer as it goes over the wire. Headers are not looked at: those that callers have a say in were, before."""
    head = b"\r\n".join(map(b": ".join, headers))
    return b"".join([STATUS_LINE[response.status_code], head, b"\r\n\r\n", bytes(response.body)])


def refuse(connection: HttpToolsProtocol, status: int, title: str, detail: str) -> None:
    """Answer to what is no request, and end its connection."""
    request_id = context.new_id()
    headers = {"X-Request-ID": request_id, "Connection": "close"}
    answer = errors.problem(request_id, status, title, detail, headers=headers)
    connection.transport.write(rendered(answer, [*connection.server_state.default_headers, *answer.raw_headers]))
    connection.transport.close()
    client = connection.client[0] if connection.client else None
    log(logging.INFO, "request", method="(none)", path="(none)", status=status, request_id=request_id, client=client)
