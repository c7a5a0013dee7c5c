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
from prometheus_client.multiprocess import mark_process_dead

from ..logs import log, log_exception

Pipe = Connection
Target = Callable[[Pipe], None]

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_HEARTBEAT_S = 0.5
_FROZEN_S = 5.0  # without a heartbeat. nginx can still retry the worker's requests then: proxy_next_upstream_timeout.
_BUSY, _READY, _DRAIN = b".", b"+", b"!"


class Worker:
    """Slot for one worker process and its replacements: the supervisor's end of the pipe."""

    def __init__(self, target: Target, number: int, metrics_dir: str | None, on_change: Callable[[], None]) -> None:
        self.number = number
        self.pid: int | None = None
        self.starts = 0
        self.running = self.draining = False
        self.ready = False  # as the last heartbeat said
        self.was_ready = False  # this process or an earlier one
        self._target = target
        self._metrics_dir = metrics_dir
        self._on_change = on_change
        self._watchdog: asyncio.TimerHandle | None = None

    async def run(self) -> int:
        """Start a process, and return its exit status when it ends. Raises `OSError` if it cannot be started."""
        self.draining = False
        context = multiprocessing.get_context("spawn")  # a forked process would inherit locks that threads hold
        self._pipe, theirs = context.Pipe()
        for end in (self._pipe, theirs):
            os.set_blocking(end.fileno(), False)
        self._process = context.Process(target=_run, args=(self._target, theirs, self.number, self._metrics_dir))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # inherited; `heartbeat` unblocks SIGTERM
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        self.pid, self.running = self._process.pid, True
        self.starts += 1
        loop, exited = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._pipe.fileno(), self._on_heartbeat)
        loop.add_reader(self._process.sentinel, exited.set)
        await exited.wait()
        loop.remove_reader(self._process.sentinel)
        loop.remove_reader(self._pipe.fileno())
        self._pipe.close()
        if self._watchdog:
            self._watchdog.cancel()
        self._process.join()
        if self._metrics_dir:
            mark_process_dead(self.number, self._metrics_dir)  # type: ignore[no-untyped-call]
        self.running = False
        self._set_ready(False)
        return self._process.exitcode or 0

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
        loop = asyncio.get_running_loop()
        try:
            beats = os.read(self._pipe.fileno(), 4096)
        except OSError:
            beats = b""
        if not beats:  # the process is exiting
            loop.remove_reader(self._pipe.fileno())
            return
        if self._watchdog:
            self._watchdog.cancel()
        self._watchdog = loop.call_later(_FROZEN_S, self._on_silence)
        self._set_ready(beats.endswith(_READY))

    def _on_silence(self) -> None:
        # If it was the supervisor that was stopped, heartbeats are in the pipe. The event loop reads them before this.
        self._watchdog = asyncio.get_running_loop().call_later(0, self.kill, "frozen")

    def _set_ready(self, ready: bool) -> None:
        self.ready = ready
        self.was_ready |= ready
        self._on_change()


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
        try:
            each_time()
        except Exception as error:  # a full disk for the metrics: without heartbeats, the worker would be killed
            log_exception("metrics not written", error)
        if is_ready():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # from now on, SIGTERM drains this worker
        with contextlib.suppress(OSError):  # the supervisor is stopped (the pipe is full), or dead
            os.write(pipe.fileno(), _READY if is_ready() else _BUSY)
        await asyncio.sleep(_HEARTBEAT_S)
