"""The process, or each of several: a listening socket, uvicorn, and an orderly end."""

import asyncio
import gc
import logging
import os
import signal
import socket
import ssl
import sys
import tempfile
from functools import partial
from ipaddress import ip_address
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import uvicorn

from .. import logs
from ..config import PREFIX, Settings
from ..errors import SetupError
from ..logs import log, log_loop_error
from ..main import create_app
from .protocol import LimitedProtocol
from .signals import Stop

if TYPE_CHECKING:
    from .worker import Pipe

_POLL_S = 0.05
# A slot's thread that comes back from the model waits so long for a busy event loop to hand it the interpreter, and the
# slot stands idle meanwhile. A fiftieth of Python's own: a batch begins after 0.7 ms; with a tenth it was 0.95.
_SWITCH_S = 0.0001
_LAST_BYTES_S = 2  # for answers that are ready when the drain ends and still have to be sent


def serve(settings: Settings) -> int:
    """Serve until told to end, then end the process: with 0 after a drain, with 1 when the model failed.

    Returns only when it cannot listen: the exit status 1.
    """
    logs.configure(settings.log_format, settings.log_level)
    if not settings.api_keys_file and not _is_loopback(settings.host):
        reason = f"whoever reaches {settings.host} may call; set {PREFIX}API_KEYS_FILE, or see to it elsewhere"
        log(logging.WARNING, "no API keys", reason=reason)
    if settings.tls_cert_file and settings.tls_key_file:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                settings.tls_cert_file,
                settings.tls_key_file,
                password="",  # none: a key that wants one is an error, not a question on the terminal # nosec B106
            )
        except (OSError, ssl.SSLError) as error:
            print(f"rt-sentiment: {PREFIX}TLS_CERT_FILE/{PREFIX}TLS_KEY_FILE: {error}", file=sys.stderr)
            return 1
    try:
        listener = _listen(settings.host, settings.port)
        if settings.workers > 1:
            port = listener.getsockname()[1]
            listener.close()  # nobody else has the port: each of ours may open it for itself
            listener = _bind(settings.host, port)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        print(f"rt-sentiment: {PREFIX}HOST/{PREFIX}PORT: cannot listen on {where}: {error.strerror}", file=sys.stderr)
        return 1
    if settings.workers == 1:
        return _run(settings, listener)
    from .supervisor import serve_workers  # multiprocessing is for those who want it

    each = settings.model_copy(update={"port": listener.getsockname()[1]})
    try:
        counts = tempfile.TemporaryDirectory(prefix="rt-sentiment-")
    except OSError as error:
        print(f"rt-sentiment: several workers need a place for what they count: {error}", file=sys.stderr)
        return 1
    with counts:
        return serve_workers(partial(work, each), settings.workers, _address(listener, settings), counts.name)


def work(settings: Settings, pipe: "Pipe") -> None:
    """Serve as one of several workers."""
    logs.configure(settings.log_format, settings.log_level)
    sys.exit(_run(settings, _bind(settings.host, settings.port), pipe))


def _run(settings: Settings, listener: socket.socket, pipe: "Pipe | None" = None) -> int:
    sys.setswitchinterval(_SWITCH_S)
    try:
        server = _Server(settings, listener, pipe)
    except SetupError as error:
        listener.close()
        print(f"rt-sentiment: {error}", file=sys.stderr)
        return 1
    if not pipe and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, server.handle_exit)
    server.run(sockets=[listener])
    return 1  # not reached: the server ends the process


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def _bind(host: str, port: int) -> socket.socket:
    """A socket beside others on one port; it does not listen yet. Otherwise as `_listen` has it."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    bound.bind((host, port))
    return bound


class _Server(uvicorn.Server):
    """uvicorn, ending by way of a drain: no readiness and 503 first, then the answers under way, then the port."""

    def __init__(self, settings: Settings, listener: socket.socket, pipe: "Pipe | None") -> None:
        self._settings = settings
        self._address = _address(listener, settings)
        self._pipe = pipe
        self._heartbeat: asyncio.Task[None] | None = None  # the event loop holds tasks weakly
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
            access_log=False,  # ours has the request's id and timings
            http=partial(  # type: ignore[arg-type]  # uvicorn only calls it
                LimitedProtocol,
                header_timeout_s=settings.header_timeout_s,
                body_timeout_s=settings.body_timeout_s,
                max_header_bytes=settings.max_header_bytes,
                on_unreadable=app.metrics.unreadable,
            ),
            server_header=False,
            forwarded_allow_ips=list(settings.trusted_proxies),
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=_LAST_BYTES_S,
            ws="none",
            ssl_certfile=settings.tls_cert_file,
            ssl_keyfile=settings.tls_key_file,
        )
        super().__init__(config)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and end the process.

        Not by returning: a slot's thread may still run a batch that nobody waits for, hang in one, or load a model, and
        both the event loop and the interpreter would wait for it.
        """
        if self._pipe:
            from .worker import heartbeat

            self._heartbeat = asyncio.create_task(
                heartbeat(self._pipe, self._is_ready, self._report_if_started, self._on_drain_request)
            )
        await super().serve(sockets)
        self._exit()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; the model is loading meanwhile."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(log_loop_error)
        await super().startup(sockets)
        if not self._pipe:
            log(logging.INFO, "listening", address=self._address, status=self._lifecycle.status)

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        """First signal: drain. Second: end at once. Neither is raised again, so that the exit status is ours."""
        self._stop.receive(sig)
        if self._loop is None or self._stop.forced:
            if self._loop and not self.force_exit:
                self._loop.call_soon_threadsafe(self._say_what_is_lost)
            self.force_exit = self.should_exit = True
        elif self._lifecycle.status != "draining":
            self._lifecycle.drain()
            self._loop.call_soon_threadsafe(self._begin_drain)

    def _say_what_is_lost(self) -> None:
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
        self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        self._log("draining", in_flight=self._lifecycle.in_flight)
        await asyncio.sleep(self._settings.drain_delay_ms / 1000)
        try:
            async with asyncio.timeout(self._settings.drain_timeout_ms / 1000):
                while self._lifecycle.in_flight:  # noqa: ASYNC110 - uvicorn polls its own exit the same way
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            log(logging.WARNING, "drain timed out", in_flight=self._lifecycle.in_flight)
            if self._lifecycle.service is not None:
                self._lifecycle.service.close()  # each of them gets a 503
        self.should_exit = True

    def _on_ready(self) -> None:
        # What is here now stays. To look through all of it for garbage stopped the event loop for a tenth of a second,
        # and a request leaves few cycles behind: looking for them as often as Python does took an eighth of its time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        self._log("ready", address=self._address, seconds=round(self._lifecycle.uptime_s, 2))

    def _on_broken(self) -> None:
        self._broken = self.should_exit = True
        if self._pipe and not self.started:
            self._exit()  # a worker that has no model does not begin to listen

    def _exit(self) -> NoReturn:
        self._log("stopped", seconds=round(self._lifecycle.uptime_s, 1))
        logging.shutdown()
        os._exit(int(self._broken))

    def _log(self, event: str, **fields: object) -> None:
        """Log what becomes of the process; of all workers together the supervisor tells."""
        if self._pipe:
            log(logging.INFO, f"worker {event}", pid=os.getpid(), **fields)
        else:
            log(logging.INFO, event, **fields)


def _address(listener: socket.socket, settings: Settings) -> str:
    scheme = "https" if settings.tls_cert_file else "http"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"{scheme}://{host}:{port}"
