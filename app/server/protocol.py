"""The connection of one client: uvicorn's, with an end to everything that a client can drag out or get wrong."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ..api.body import ARRIVED
from ..api.disconnect import LEFT, no_more_body
from ..api.endpoint import Endpoint
from ..api.exchange import Exchange, refuse
from ..api.express import MOST_BYTES, Express
from ..api.flow import MOST_WAITING, Flow, TooManyWaiting
from ..api.head import check_host, head_without_upgrade
from ..api.timer import Timer
from ..api.transport import Cork, CorkedTransport

_MOST_SURPLUS_BYTES = 16 * 1024 * 1024  # many clients read nothing before they have sent everything
# Many clients send the headers and the body one after the other. What takes longer is not what the short way is for.
_LONGEST_HELD_S = 0.05
# Fields behind a body, which uvicorn would add to the headers (RFC 9110, 6.5.1, says not to) without end.
_TRAILERS: Any = deque(maxlen=0)


class Connection(HttpToolsProtocol):
    """Answers 408 when the headers of a request are not there in time, 431 when they never end, 400 to broken HTTP.

    A client that sends on after its request was answered, or does not fetch its answer, is cut off. Requests that may
    take the short way (`app.api.express`) are held until all of them has come.
    """

    def __init__(
        self,
        *args: Any,
        header_timeout_s: float,
        max_header_bytes: int,
        on_unreadable: Callable[[int], None],  # is told the status that it was refused with
        express: Express,
        cork: Cork,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._express = express
        self._cork = cork
        self._endpoint: Endpoint[Any] | None = None  # of the request that is held, if any
        self._held = bytearray()  # of its body
        self._data = b""  # that the parser has last
        self._holding = Timer(self.loop, _LONGEST_HELD_S)
        self._on_unreadable = on_unreadable
        self._max_header_bytes = max_header_bytes
        self._in_headers = False
        self._header_bytes = 0
        self._reading = Timer(self.loop, header_timeout_s)
        self._writing = Timer(self.loop, header_timeout_s)
        self._surplus_bytes = 0  # of a body that came after its answer
        self._running: RequestResponseCycle | Exchange | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first headers."""
        super().connection_made(CorkedTransport(transport, self.loop, self._cork))  # type: ignore[arg-type]
        self.flow = Flow(self.transport, self.pipeline)
        self._reading.start(self._on_late_headers)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing."""
        self._reading.stop()
        self._writing.stop()
        self._let_go()
        if isinstance(self._running, Exchange):
            self._running.leave()
        elif self._running is not None:
            self._running.disconnected = True  # uvicorn tells the one that came last
            if not (left := self._running.scope["state"][LEFT]).done():
                left.set_result(None)
        super().connection_lost(exc)
        self.cycle = self._running = None  # type: ignore[assignment]  # they know this connection, too
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; then see whether headers are left half way, or nothing is under way."""
        self._header_bytes += len(data)
        self._data = data
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._header_bytes > self._max_header_bytes:  # or bytes around a body: heads of chunks, what follows it
            if self._in_headers or self._answering or self._endpoint:
                detail = f"the headers are larger than {self._max_header_bytes} bytes together"
                self._refuse(431, "Request Header Fields Too Large", detail)
            else:
                self.transport.abort()
        elif self._endpoint:
            if not self._holding:
                self._holding.start(self._let_go)
        elif not self._in_headers:
            if not (self._answering or self._reading or self.timeout_keep_alive_task):
                # Anything that comes ends uvicorn's wait, even the rest of a body whose answer has gone.
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )
        elif not self._reading:
            self._reading.start(self._on_late_headers)

    def on_message_begin(self) -> None:
        """The first byte of a request came."""
        self._in_headers = True
        self._unset_keepalive_if_required()  # the one before may have been answered while these bytes were read
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hold the request if it may take the short way. Else the body is the application's to wait for."""
        self._in_headers = False
        self._header_bytes = 0
        self._reading.stop()
        if self.cycle and self.transport.is_closing():
            return  # the one before was the last
        if self._wants_upgrade():
            return
        check_host(self.headers, self.parser.get_http_version())
        if len(self.pipeline) >= MOST_WAITING:
            raise TooManyWaiting  # the parser stops, and the connection ends behind the answers to those before
        if self._is_usual():
            self._endpoint = self._express.take(self.parser.get_method(), self.url, self.scope)  # type: ignore[arg-type]
        if not self._endpoint:
            super().on_headers_complete()
        self.headers = _TRAILERS

    def on_body(self, body: bytes) -> None:
        """Drop what comes after the answer, but not for ever."""
        self._header_bytes = 0
        if self._endpoint:
            self._held += body
            if len(self._held) > MOST_BYTES:
                self._let_go()
            return
        if self.cycle.response_complete:
            self._surplus_bytes += len(body)
            if self._surplus_bytes > _MOST_SURPLUS_BYTES:
                self.transport.abort()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of the request has come."""
        if self._endpoint:
            self._exchange(self._endpoint)
            return
        if self._wants_upgrade():
            return
        self.cycle.scope["state"][ARRIVED] = True
        self._surplus_bytes = 0
        self._header_bytes = 0
        self._reading.stop()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The rest of a body that nobody read gets some time, so that its sender sees the answer before the end."""
        if self._running is not None and self._running.more_body:
            self._reading.start(self.transport.abort)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._writing.start(self.transport.abort)

    def resume_writing(self) -> None:
        """It reads again, or has been cut off: then there is nothing to write to."""
        self._writing.stop()
        if not self.transport.is_closing():
            super().resume_writing()

    def send_400_response(self, _msg: str) -> None:
        """Answer to bytes that are no HTTP."""
        self._refuse(400, "Bad Request", "this is not HTTP/1.1 as RFC 9112 has it")

    def _wants_upgrade(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _unsupported_upgrade_warning(self) -> None:
        """Ignore that a client would rather have another protocol, as a server may (RFC 9110, 7.8).

        The parser has stopped before the body and would go on no more, so another one begins again without the wish.
        Java's client asks for HTTP/2 so with each request, and curl's --http2.
        """
        stopped = sys.exception()
        if not self._wants_upgrade() or not isinstance(stopped, httptools.HttpParserUpgrade):
            return
        head = head_without_upgrade(self.parser, self.url, self.scope["headers"])
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        self.data_received(head + self._data[stopped.args[0] :])

    def shutdown(self) -> None:
        """The server ends: what is under way is answered, and then the connection is closed."""
        self._let_go()
        super().shutdown()

    def _is_usual(self) -> bool:
        return not (
            self._answering
            or self.transport.holds  # type: ignore[attr-defined]  # the answer to what came in the same step
            or self.flow.write_paused
            or self.expect_100_continue
            or self.parser.get_http_version() != "1.1"
        )

    def _exchange(self, endpoint: Endpoint[Any]) -> None:
        """Answer the request that is held."""
        held = self._release()
        self._header_bytes = self._surplus_bytes = 0
        exchange = self._running = Exchange(self._express, endpoint, self)
        self.cycle = exchange  # type: ignore[assignment]  # to uvicorn it is one
        exchange.run(held)

    def _let_go(self) -> None:
        """The request that is held, if any, goes the long way."""
        if self._endpoint:
            held = self._release()
            super().on_headers_complete()
            super().on_body(held)

    def _release(self) -> bytes:
        """Hold nothing any more; return what was held of a body."""
        held, self._held = bytes(self._held), bytearray()
        self._holding.stop()
        self._endpoint = None
        return held

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        cycle.scope["state"][LEFT] = self.loop.create_future()
        super()._start_asgi_task(cycle, app)

    def _on_late_headers(self) -> None:
        if self._answering:
            self._reading.start(self._on_late_headers)  # its turn has not come, and what it sent may not be read yet
        elif self._in_headers or self._header_bytes:
            self._refuse(408, "Request Timeout", "the headers did not come in time")
        elif not self.transport.is_closing():
            self.transport.close()  # a connection that was never used

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int, title: str, detail: str) -> None:
        if self.transport.is_closing():
            return
        self._release()
        if self._answering and not (self._running is self.cycle and no_more_body(self.cycle)):
            self.cycle.keep_alive = False  # the connection ends behind the answers to what came before
            self.flow.pause_reading()
            return
        refuse(self, status, title, detail)
        self._on_unreadable(status)
