"""uvicorn's server with a graceful shutdown."""

import asyncio
import gc
import logging
import os
import signal
import socket
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import uvicorn

from ..addresses import mapped_to_ipv6
from ..config import Settings
from ..logs import log, log_loop_error
from ..main import create_app
from ..sockets import address_of
from .connections import Connections, allow_connections
from .protocol import LimitedProtocol
from .signals import Stop

if TYPE_CHECKING:
    from .worker import Pipe

_POLL_S = 0.05
_LAST_BYTES_S = 2  # for responses that are complete when the drain ends and still have to be sent


class DrainingServer(uvicorn.Server):
    """At a signal, answers 503 to new requests, finishes those in flight, and then closes its port."""

    def __init__(self, settings: Settings, listener: socket.socket, pipe: "Pipe | None") -> None:
        self._settings = settings
        self._address = address_of(listener, tls=settings.tls_cert_file is not None)
        self._pipe = pipe
        self._heartbeat: asyncio.Task[None] | None = None  # the event loop holds only weak references
        self._draining: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = Stop()
        self._broken = False
        app = create_app(settings, on_ready=self._on_ready, on_broken=self._on_broken)
        self._lifecycle = app.lifecycle
        self._report = app.report
        config = uvicorn.Config(
            app.asgi,
            log_config=None,
            access_log=False,  # the middleware writes one, with the request's id and timings
            http=partial(  # type: ignore[arg-type]  # uvicorn only calls it
                LimitedProtocol,
                header_timeout_s=settings.header_timeout_s,
                body_timeout_s=settings.body_timeout_s,
                stream_idle_s=settings.stream_idle_s,
                max_header_bytes=settings.max_header_bytes,
                on_unreadable=app.metrics.unreadable,
                connections=Connections(allow_connections(settings.max_connections)),
            ),
            server_header=False,
            forwarded_allow_ips=[*settings.trusted_proxies, *mapped_to_ipv6(settings.trusted_proxies)],
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=_LAST_BYTES_S,
            ws="none",
            ssl_certfile=settings.tls_cert_file,
            ssl_keyfile=settings.tls_key_file,
        )
        super().__init__(config)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, then exit the process.

        Returning would not do: a slot's thread may still run a batch, hang in one, or load a model, and both the event
        loop and the interpreter would wait for it.
        """
        if self._pipe:
            from .worker import heartbeat

            self._heartbeat = asyncio.create_task(
                heartbeat(self._pipe, self._is_ready, self._report_if_started, self._on_drain_request)
            )
        await super().serve(sockets)
        self._exit()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, while the model loads."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(log_loop_error)
        await super().startup(sockets)
        if not self._pipe:
            log(logging.INFO, "listening", address=self._address, status=self._lifecycle.status)

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        """Drain at the first signal, exit at the second. uvicorn would raise the signal again, with its exit status."""
        self._stop.receive(sig)
        if self._loop is None or self._stop.forced:
            if self._loop and not self.force_exit:
                self._loop.call_soon_threadsafe(self._log_forced_exit)
            self.force_exit = self.should_exit = True
        elif self._lifecycle.status != "draining":
            self._lifecycle.drain()
            self._loop.call_soon_threadsafe(self._begin_drain)

    def _log_forced_exit(self) -> None:
        log(logging.WARNING, "ending at once", in_flight=self._lifecycle.in_flight)

    def _is_ready(self) -> bool:
        return self.started and self._lifecycle.status == "ok"

    def _report_if_started(self) -> None:
        if self.started:
            self._report()

    def _on_drain_request(self) -> None:
        """Handle the supervisor's request to drain; it may follow a SIGTERM and must not count as a second one."""
        if not self.started:  # the model is loading, and the port is not open yet
            self._exit()
        elif not self._stop.requested:
            self.handle_exit(signal.SIGTERM, None)

    def _begin_drain(self) -> None:
        self._lifecycle.ending.set()
        self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        self._log("draining", in_flight=self._lifecycle.in_flight)
        await asyncio.sleep(self._settings.drain_delay_ms / 1000)
        try:
            async with asyncio.timeout(self._settings.drain_timeout_ms / 1000):
                while self._lifecycle.in_flight:  # noqa: ASYNC110 - uvicorn polls in the same way
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            log(logging.WARNING, "drain timed out", in_flight=self._lifecycle.in_flight)
            self._lifecycle.close()  # they get 503
        finally:
            self.should_exit = True

    def _on_ready(self) -> None:
        # The objects that exist now stay. A full collection stopped the event loop for a tenth of a second, and at
        # Python's own thresholds collections took an eighth of the time of a request, which leaves few cycles behind.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        self._log("ready", address=self._address, seconds=round(self._lifecycle.uptime_s, 2))

    def _on_broken(self) -> None:
        self._broken = self.should_exit = True
        if self._pipe and not self.started:
            self._exit()  # a worker without a model does not start to listen

    def _exit(self) -> NoReturn:
        self._log("stopped", seconds=round(self._lifecycle.uptime_s, 1))
        logging.shutdown()
        os._exit(int(self._broken))

    def _log(self, event: str, **fields: object) -> None:
        """Log an event of this process. The supervisor logs those of all workers together."""
        if self._pipe:
            log(logging.INFO, f"worker {event}", pid=os.getpid(), **fields)
        else:
            log(logging.INFO, event, **fields)
