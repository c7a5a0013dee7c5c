"""A worker process, and the pipe between it and its supervisor.

The worker sends heartbeats through the pipe; the supervisor sends one byte to start the drain. If the supervisor dies,
the pipe closes, and the worker drains too.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection

from prometheus_client import values

from ..logs import log

Pipe = Connection
Target = Callable[[Pipe], None]

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_HEARTBEAT_S = 0.5
_FROZEN_S = 5.0  # without a heartbeat. nginx can still retry the worker's requests then: proxy_next_upstream_timeout.
_BUSY, _READY, _DRAIN = b".", b"+", b"!"


class Worker:
    """The supervisor's side: starts the process, reads its heartbeats, and kills it if they stop."""

    def __init__(self, target: Target, number: int, metrics_dir: str | None) -> None:
        """Raises `OSError` if the process cannot be started."""
        self._loop = asyncio.get_running_loop()
        self.started_s = self._loop.time()
        self.ready = False  # as the last heartbeat said
        self.draining = False
        self.became_ready: asyncio.Future[bool] = self._loop.create_future()  # False: it ended before
        self.exit_status: asyncio.Future[int] = self._loop.create_future()
        self._watchdog: asyncio.TimerHandle | None = None
        context = multiprocessing.get_context("spawn")  # a forked process would inherit locks that threads hold
        self._pipe, theirs = context.Pipe()
        for end in (self._pipe, theirs):
            os.set_blocking(end.fileno(), False)
        self._process = context.Process(target=_run, args=(target, theirs, number, metrics_dir))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # inherited; `heartbeat` unblocks SIGTERM
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        self._loop.add_reader(self._pipe.fileno(), self._on_heartbeat)
        self._loop.add_reader(self._process.sentinel, self._on_exit)

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def running(self) -> bool:
        return not self.exit_status.done()

    def drain(self) -> None:
        """Tell the process, once, to answer its requests and exit."""
        if self.running and not self.draining:
            self.draining = True
            with contextlib.suppress(OSError):
                os.write(self._pipe.fileno(), _DRAIN)

    def kill(self, reason: str) -> None:
        if self.running:
            log(logging.ERROR, "worker killed", pid=self.pid, reason=reason)
            self._process.kill()

    def _on_heartbeat(self) -> None:
        try:
            beats = os.read(self._pipe.fileno(), 4096)
        except OSError:
            beats = b""
        if not beats:  # the process is exiting
            self._loop.remove_reader(self._pipe.fileno())
            return
        if self._watchdog:
            self._watchdog.cancel()
        self._watchdog = self._loop.call_later(_FROZEN_S, self.kill, "frozen")
        self.ready = beats.endswith(_READY)
        if self.ready and not self.became_ready.done():
            self.became_ready.set_result(True)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
        self._loop.remove_reader(self._pipe.fileno())
        if self._watchdog:
            self._watchdog.cancel()
        self._pipe.close()
        self._process.join()
        self.ready = False
        if not self.became_ready.done():
            self.became_ready.set_result(False)
        self.exit_status.set_result(self._process.exitcode or 0)


def _run(target: Target, pipe: Pipe, number: int, metrics_dir: str | None) -> None:
    os.setpgid(0, 0)  # signals to the supervisor's process group, Ctrl-C among them, are for the supervisor alone
    if metrics_dir:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_dir
        # One file per slot rather than per process: a replacement continues the counters of its predecessor.
        values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]
    target(pipe)


async def heartbeat(
    pipe: Pipe, is_ready: Callable[[], bool], each_time: Callable[[], None], drain: Callable[[], None]
) -> None:
    """Run in the worker: send heartbeats, and call `drain` when the supervisor asks for it or has died."""
    loop = asyncio.get_running_loop()

    def on_message() -> None:
        loop.remove_reader(pipe.fileno())
        drain()

    loop.add_reader(pipe.fileno(), on_message)
    while True:
        each_time()
        if is_ready():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # from now on, SIGTERM drains this worker
        with contextlib.suppress(OSError):  # the supervisor is stopped (the pipe is full), or dead
            os.write(pipe.fileno(), _READY if is_ready() else _BUSY)
        await asyncio.sleep(_HEARTBEAT_S)
