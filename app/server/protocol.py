"""uvicorn's HTTP protocol, with limits on slow, broken and numerous clients.

Only this file uses uvicorn's internal modules: uvicorn has no hooks for incomplete requests. The tests run on the
lowest and the newest version that `pyproject.toml` allows.
"""

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ..api import BROKEN, BUSY, PEER, PROBES, REFUSED, UPLOAD, new_id, problem
from ..logs import log
from .connections import Connections
from .parts import BodyParts
from .target import VERSIONS, is_rtsp, is_valid_target, without_upgrade
from .timer import Timer
from .transport import JoiningTransport

_PROBES = frozenset(path.encode() for path in PROBES)
_NO_TRAILERS: deque[tuple[bytes, bytes]] = deque(maxlen=0)  # to which nothing can be added
_LAST_BYTES_S = 1  # for the end of a response on a connection that is closed for a new one
_MAX_PIPELINED = 100  # requests that wait behind the one that is being answered
_MAX_SURPLUS_BYTES = 16 * 1024 * 1024  # of a body after its response: many clients send all of it before they read
_MIN_PART_BYTES, _MIN_STREAM_PART_BYTES, _MIN_SURPLUS_PART_BYTES = 32, 4, 1024  # of a body, on average


class LimitedProtocol(HttpToolsProtocol):
    """Answers 408 to headers and bodies that do not arrive in time, 431 to large headers and 400 to broken HTTP.

    Answers 413 to bodies in too many small chunks, 505 to other versions of HTTP, and 503 to too many connections. Cuts
    off a client that does not read its response, or goes on with a body after its response. Ignores `Upgrade`.
    """

    def __init__(
        self,
        *args: Any,
        header_timeout_s: float,
        body_timeout_s: float,
        stream_idle_s: float,
        max_header_bytes: int,
        on_unreadable: Callable[[int], None],  # gets the status of the refusal
        connections: Connections,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._header_timeout_s = header_timeout_s
        self._body_timeout_s = body_timeout_s
        self._stream_idle_s = stream_idle_s
        self._max_header_bytes = max_header_bytes
        self._on_unreadable = on_unreadable
        self._all = connections
        self._is_extra = False  # over the limit
        self._in_headers = self._in_tiny_parts = False
        self._parts = BodyParts()
        self._unread: list[bytes] = []  # parts of the body that the application does not have yet
        self._surplus_bytes = self._unparsed_bytes = 0  # the latter since headers or a part of a body
        self._data = self._head = b""  # what the parser got last; the same, if it has headers or goes on with them
        self._timer = Timer(self.loop)  # for what the client has to send
        self._write_timer = Timer(self.loop)  # for what it has to read

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(JoiningTransport(transport, self.loop))  # type: ignore[arg-type]
        if isinstance(transport.get_extra_info("sockname"), str):  # a socket in the file system
            self.client = ("127.0.0.1", 0)
        elif self.client:  # a socket for both families writes IPv4 like IPv6, and proxies are trusted by their IPv4
            self.client = (self.client[0].removeprefix("::ffff:"), self.client[1])
        self._start_timer()
        self._is_extra = not self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.stop()
        self._write_timer.stop()
        self._all.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unparsed_bytes += len(data)
        self._data = data
        if self._in_headers:
            self._head += data
        else:
            self._head = b"" if self.cycle and self.cycle.more_body else data
        super().data_received(data)
        self._pass_on()
        if self.transport.is_closing():
            return
        if self._unparsed_bytes > self._max_header_bytes:
            detail = f"the headers are larger than {self._max_header_bytes} bytes in total"
            self._refuse(431, "Request Header Fields Too Large", detail)
        elif not self._timer.is_running and (not self._answering or self._waits_for_body):
            self._start_timer()

    def on_message_begin(self) -> None:
        self._in_headers = True
        super().on_message_begin()
        self.scope["state"] |= {PEER: self.client[0] if self.client else None, BUSY: self._set_busy}
        if not self._answering:
            self._all.wait(self)

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._check_request_line()
        if self._wants_upgrade():
            return  # the parser stops now
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise OverflowError  # the parser fails, and the connection ends after the responses to the others
        self._unparsed_bytes = self._surplus_bytes = 0
        self._parts = BodyParts()
        self._timer.stop()
        super().on_headers_complete()
        self.headers = _NO_TRAILERS  # type: ignore[assignment]  # uvicorn would add trailers to the headers

    def on_body(self, body: bytes) -> None:
        self._unparsed_bytes = 0
        is_surplus = self.cycle.response_complete
        least = _MIN_SURPLUS_PART_BYTES if is_surplus else _MIN_PART_BYTES
        self._in_tiny_parts = self._parts.add(len(body), _MIN_STREAM_PART_BYTES if self._is_streaming else least)
        if is_surplus:
            self._surplus_bytes += len(body)
            if self._in_tiny_parts or self._surplus_bytes > _MAX_SURPLUS_BYTES:
                self.transport.abort()
                raise OverflowError  # the parser stops
        elif self._in_tiny_parts:
            raise OverflowError
        else:
            self._unread.append(body)

    def on_message_complete(self) -> None:
        if not self._wants_upgrade():
            self._unparsed_bytes = 0
            self._timer.stop()
            self._pass_on()
            super().on_message_complete()
            if self._answering:
                self._all.work(self)

    def _pass_on(self) -> None:
        """Give uvicorn the parts of a body at once: it appends each to those before, and wakes up the application."""
        if self._unread:
            body = b"".join(self._unread)
            self._unread.clear()
            super().on_body(body)

    def on_response_complete(self) -> None:
        if self.cycle.more_body or (self._in_headers and not self.pipeline):
            self._start_timer()  # for the rest of a body, which was not read before its turn, or of the next headers
        super().on_response_complete()
        if not self.pipeline and (not self._answering or self._waits_for_body):
            self._all.wait(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        is_stream = self._answering and self.cycle.chunked_encoding
        self._write_timer.start(self._stream_idle_s if is_stream else self._header_timeout_s, self.transport.abort)
        self._all.wait(self)

    def resume_writing(self) -> None:
        self._write_timer.stop()
        if self.pipeline or (self._answering and not self._waits_for_body):
            self._all.work(self)
        super().resume_writing()

    def give_way(self) -> None:
        if self._in_headers or self._answering:
            self._refuse_for_now()
        self.transport.close()
        # A client that does not read would keep it open.
        self.loop.call_later(0 if self._write_timer.is_running else _LAST_BYTES_S, self.transport.abort)

    def _check_request_line(self) -> None:
        """Raise an error, which stops the parser, if the server does not answer requests of this kind."""
        head, self._head = self._head, b""
        if self.parser.get_http_version() not in VERSIONS or is_rtsp(head):
            self._refuse(505, "HTTP Version Not Supported", "only HTTP/1.1 and HTTP/1.0 are supported")
            raise ValueError("version")
        if not is_valid_target(self.url, self.headers):
            raise ValueError("target")
        if self._is_extra and b"/" + self.url.partition(b"?")[0].rpartition(b"/")[2] not in _PROBES:
            self._all.refused()
            self._refuse_for_now()
            raise ValueError("connections")

    def _refuse_for_now(self) -> None:
        self._refuse(503, "Not Ready", "the server has too many connections", {"Retry-After": "1"})

    def send_400_response(self, _msg: str) -> None:
        if self._in_tiny_parts:
            self._refuse(413, "Content Too Large", "the body comes in too many small chunks")
        else:
            self._refuse(400, "Bad Request", "the request is not valid HTTP/1.1 (RFC 9112)")

    def _unsupported_upgrade_warning(self) -> None:
        """Ignore `Upgrade`, as a server may (RFC 9110, section 7.8): Java's client sends it with each request.

        The parser has stopped after the headers, so a new one gets them again, without `Upgrade`.
        """
        stopped = sys.exception()
        if not self._wants_upgrade() or not isinstance(stopped, httptools.HttpParserUpgrade):
            return
        line = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        head = without_upgrade(line, self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.data_received(head + self._data[stopped.args[0] :])

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wants_upgrade(self) -> bool:
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    @property
    def _waits_for_body(self) -> bool:
        return self.cycle.more_body and not (self.cycle.response_started or UPLOAD in self.cycle.scope["state"])

    @property
    def _is_streaming(self) -> bool:
        """Whether the response has begun before the end of the request."""
        return self._answering and self.cycle.more_body and self.cycle.response_started

    def _set_busy(self, busy: bool) -> None:
        if not self._write_timer.is_running:
            (self._all.work if busy else self._all.wait)(self)

    def _start_timer(self) -> None:
        self._timer.start(self._body_timeout_s if self._answering else self._header_timeout_s, self._on_timeout)

    def _on_timeout(self) -> None:
        if self._answering:
            if self.pipeline:  # it is not the turn of this request, and its data may not have been read
                self._start_timer()
            elif self._waits_for_body:
                self._refuse(408, "Request Timeout", "the body did not arrive in time")
        elif self._in_headers:
            self._refuse(408, "Request Timeout", "the headers did not arrive in time")
        else:  # nothing came, or a body after its response
            self.transport.abort()

    def _refuse(self, status: int, title: str, detail: str, extra: Mapping[str, str] | None = None) -> None:
        """Respond to an invalid request, and close the connection."""
        if self.transport.is_closing():
            return
        if self._answering:
            if self.pipeline or not self._waits_for_body:
                self.cycle.keep_alive = False  # the connection ends after the responses to earlier requests
                if self._is_streaming:
                    self.cycle.scope["state"][BROKEN] = (status, detail)
                    self._pass_on()
                    super().on_message_complete()
                self.flow.pause_reading()
                return
            self.cycle.scope["state"][REFUSED] = status
            self.cycle.disconnected = True  # the application must not wait for the rest of the body
            self.cycle.message_event.set()
        request_id = new_id()
        headers = {"X-Request-ID": request_id, "Connection": "close", **(extra or {})}
        response = problem(request_id, status, title, detail, headers=headers)
        head = [b"%b: %b" % header for header in (*self.server_state.default_headers, *response.raw_headers)]
        self.transport.write(STATUS_LINE[status] + b"\r\n".join([*head, b"", bytes(response.body)]))
        self.transport.close()
        fields = {"status": status, "request_id": request_id, "client": self.client[0] if self.client else None}
        log(logging.INFO, "request", method="(none)", path="(none)", **fields)
        self._on_unreadable(status)
