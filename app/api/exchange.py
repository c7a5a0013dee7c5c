"""One stream: lines are read, get places and are answered, all at the same time, with bounds on each."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from ..errors import BackendError, BodiesFull
from .bodies import SMALL_BYTES
from .context import BROKEN, BUSY, context_of
from .errors import failure_of, log_failure
from .intake import Intake, LineOptions, Services, Stopped
from .lines import LineSplitter
from .places import Place, memory_of, render, render_end

# What is read ahead of the texts that are under way. A proxy that cannot stop reading needs some (docs/deployment.md).
_READ_AHEAD_BYTES = 1024 * 1024
_MAX_WRITE_BYTES = 32 * 1024
_STEP = 32  # lines after which other tasks of the event loop have their turn
_CHECK_EVERY_S = 1.0  # whether the API key is still valid


class Exchange:
    """Reads the lines of one request and sends an answer to each, in their order.

    A task reads lines, one gives them places, and one sends the answers. Each of them stops while the next one is slow,
    so a client that does not read its answers is not read from. Their bounds: what is read ahead, the window of texts
    that are under way, and what is written at a time.
    """

    def __init__(self, services: Services, scope: Scope, options: LineOptions, receive: Receive, send: Send) -> None:
        self._services = services
        self._scope = scope
        self._context = context_of(scope)
        self._top_k = options.options.top_k
        self._body = services.bodies.hold()
        self._receive = receive
        self._send = send
        self._busy: Callable[[bool], None] = scope["state"].get(BUSY, lambda _: None)
        self._intake = Intake(services, self._context, options, self._pause)
        self._splitter = LineSplitter(services.max_line_bytes)
        self._lines: deque[bytes | None] = deque()
        self._window: deque[Place] = deque()
        # As many as the model runs at once, and as many that wait: more would only delay other requests of the client.
        self._window_size = 2 * services.lifecycle.texts_at_once
        self._held_bytes = 0  # of complete lines without an answer
        self._is_read = self._is_taken = False  # whether no more lines will come, and none will get a place
        self._end: tuple[int, str] | None = None
        self._active_s = time.monotonic()  # when a line came or an answer was sent
        self._is_sent = False  # the whole response
        self._answered = self._failed = self._model_failed = 0
        self._running: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()

    async def run(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Answer all lines. Raises `ClientDisconnect`."""
        try:
            async with asyncio.TaskGroup() as tasks:
                parts = (self._read, self._take, self._watch)
                self._running = [tasks.create_task(self._until_stopped(part)) for part in parts]
                await asyncio.sleep(0)  # reading begins first: it tells a client that waits for "100 Continue" to go on
                await self._send({"type": "http.response.start", "status": 200, "headers": headers})
                await self._answer()
                for task in self._running:
                    task.cancel()
        except* ClientDisconnect:
            raise ClientDisconnect from None
        finally:
            for place in self._window:
                place.leave()
            self._body.count(0)
            self._context.lines = {"lines": self._answered, "failed": self._failed}

    async def _until_stopped(self, part: Callable[[], Awaitable[None]]) -> None:
        try:
            await part()
        except Stopped as stopped:
            self._stop(*stopped.args)
        except BodiesFull as error:
            self._stop(*failure_of(error))

    def _stop(self, status: int, detail: str) -> None:
        """Answer what has a place, and end the stream with a line that says why."""
        self._end = self._end or (status, detail)
        self._is_read = self._is_taken = True
        for task in self._running:
            task.cancel()
        self._notify()

    async def _watch(self) -> None:
        await self._services.lifecycle.ending.wait()
        raise Stopped(503, "the server is shutting down")

    async def _read(self) -> None:
        while not self._is_read:
            await self._until(self._has_room)
            message = await self._next_message()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            data = message.get("body", b"")
            lines = self._splitter.feed(data)
            if not message.get("more_body", False):
                lines += self._splitter.end()
                self._is_read = True
                self._end = self._scope["state"].get(BROKEN)
            if b"\n" in data:
                self._active_s = time.monotonic()
            self._lines += lines
            self._hold(sum(map(memory_of, lines)))
            self._notify()
        while not self._is_sent:
            if (await self._receive())["type"] == "http.disconnect" and not self._is_sent:
                raise ClientDisconnect

    def _has_room(self) -> bool:
        """Return whether more may be read. Raises `BodiesFull` if that cannot change."""
        held_bytes = self._held_bytes + self._splitter.held_bytes
        if held_bytes <= SMALL_BYTES or not self._services.bodies.is_full:
            return held_bytes < _READ_AHEAD_BYTES
        if not self._held_bytes:  # all of it is a line that is not complete
            self._services.bodies.check_room()
        return False

    async def _next_message(self) -> Message:
        """Receive more of the body. Stops the stream if the client has been idle for too long."""
        while True:
            idle_s = self._services.idle_s
            left_s = idle_s
            if not (self._lines or self._window):
                left_s -= time.monotonic() - self._active_s
                if left_s <= 0:
                    raise Stopped(408, "no line arrived in time")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    return await self._receive()

    async def _take(self) -> None:
        checked_s = time.monotonic()
        count = 0
        while True:
            await self._until(lambda: self._lines or self._is_read)
            if not self._lines:
                break
            self._busy(True)
            await self._until(lambda: len(self._window) < self._window_size)
            if (now_s := time.monotonic()) > checked_s + _CHECK_EVERY_S:
                checked_s = now_s
                check = self._services.authentication
                if check and check(self._scope, self._context):
                    raise Stopped(403, "the API key is no longer valid")
            self._window.append(await self._intake.take(self._lines[0]))
            self._lines.popleft()
            self._notify()
            count += 1
            if count % _STEP == 0:
                await asyncio.sleep(0)
        self._is_taken = True
        self._notify()

    async def _answer(self) -> None:
        while True:
            await self._until(lambda: self._window or self._is_taken)
            if not self._window:
                break
            content, size = bytearray(), 0
            while self._window and len(content) < _MAX_WRITE_BYTES and (not content or self._window[0].is_done):
                place = self._window[0]
                content += await self._render(place)
                size += place.size
                self._window.popleft()
            if not (self._window or self._lines):
                self._busy(False)
            await self._send({"type": "http.response.body", "body": bytes(content), "more_body": True})
            self._active_s = time.monotonic()
            self._hold(-size)
            self._notify()
        last = render_end(*self._end) if self._end else b""
        self._is_sent = True
        await self._send({"type": "http.response.body", "body": last, "more_body": False})

    async def _render(self, place: Place) -> bytes:
        outcome = await place.result()
        status, line = render(place, outcome, self._top_k)
        self._services.observer.line_answered(status)
        self._answered += 1
        self._failed += status != 200
        if isinstance(outcome, BackendError):
            self._model_failed += 1
            if self._model_failed == 1:  # one line in the log, even if it fails on all texts
                log_failure(self._context.request_id, outcome)
        return line

    def _hold(self, size: int) -> None:
        self._held_bytes += size
        self._body.count(self._held_bytes + self._splitter.held_bytes)

    def _notify(self) -> None:
        self._changed.set()
        self._changed.clear()

    async def _until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await self._changed.wait()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
