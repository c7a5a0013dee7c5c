"""Starts worker processes, replaces those that end or freeze, restarts them one after the other, and drains them.

`rt-sentiment serve --workers N` runs N workers on one port. `make replicas N=2` runs two behind nginx, each on its own
port. A worker is the whole service, with its own model, cache and queue.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from multiprocessing import resource_tracker
from types import TracebackType
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

from ..logs import log
from .signals import Stop
from .worker import SIGNALS, Target, Worker

_MAX_BACKOFF_S = 30.0  # between the starts of a worker that keeps ending
_MIN_UPTIME_S = 30.0  # after which its backoff starts again at one second
_RESTART_TIMEOUT_S = 120
_SETTLE_S = 1  # between two restarts: a request that the first worker refused can still be retried at the second


def serve_workers(target: Target, count: int, address: str, metrics_dir: str) -> int:
    """Run `count` workers at one address until a signal ends them; return the exit status.

    `metrics_dir` is an empty directory for the counters that the workers share.
    """
    return asyncio.run(_serve_workers(Supervisor([target] * count, metrics_dir=metrics_dir), address))


async def _serve_workers(supervisor: "Supervisor", address: str) -> int:
    started_s = time.monotonic()
    async with supervisor:
        log(logging.INFO, "starting", address=address, workers=len(supervisor.slots))
        if await supervisor.wait_ready(lambda: log(logging.INFO, "listening", address=address, status="ok")):
            seconds = round(time.monotonic() - started_s, 2)
            log(logging.INFO, "ready", address=address, seconds=seconds, workers=supervisor.pids)
            await supervisor.stopping.wait()
    log(logging.INFO, "stopped", seconds=round(time.monotonic() - started_s, 1))
    return int(supervisor.failed)


class Supervisor:
    """Runs one worker for each target. Entering the context starts the workers, leaving it drains them.

    The first SIGTERM, SIGINT or SIGHUP sets `stopping`. A second one kills the workers and cancels the task that is in
    the context. With `restart_on_sighup`, SIGHUP restarts the workers instead.
    """

    def __init__(
        self, targets: Sequence[Target], *, metrics_dir: str | None = None, restart_on_sighup: bool = False
    ) -> None:
        self.slots = [Slot(target, number, metrics_dir) for number, target in enumerate(targets)]
        self.stopping = asyncio.Event()
        self.failed = False  # a worker failed at the start or at the end
        self._stop = Stop()
        self._restart_on_sighup = restart_on_sighup
        self._restart_requested = asyncio.Event()

    @property
    def pids(self) -> list[int | None]:
        return [slot.worker.pid for slot in self.slots if slot.worker]

    async def __aenter__(self) -> "Supervisor":
        loop = asyncio.get_running_loop()
        self._owner = asyncio.current_task()
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
                loop.add_signal_handler(number, self._on_signal, number)
        resource_tracker.ensure_running()  # it unblocks signals; the start of the first worker must not
        self._keepers = [asyncio.create_task(self._keep(slot)) for slot in self.slots]
        self._restarter = asyncio.create_task(self._restart_on_request())
        return self

    async def __aexit__(self, _kind: Any, _error: BaseException | None, _trace: TracebackType | None) -> bool:
        self._begin_stop()
        for slot in self.slots:
            if slot.worker:
                slot.worker.drain()
        try:
            await asyncio.wait(self._keepers)
        except asyncio.CancelledError:
            if not self._stop.forced:
                raise
            await asyncio.wait(self._keepers)
        return self._stop.forced  # the CancelledError of the second signal ends here

    async def wait_ready(self, on_first: Callable[[], None] = lambda: None) -> bool:
        """Wait until all workers are ready, and call `on_first` once one is; return False if the supervisor stops."""

        async def all_ready() -> None:
            for count, ready in enumerate(asyncio.as_completed([slot.wait_ready() for slot in self.slots])):
                if not await ready:
                    await self.stopping.wait()  # which follows
                elif count == 0:
                    on_first()

        return await self.unless_stopped(all_ready())

    async def unless_stopped(self, coroutine: Coroutine[Any, Any, object]) -> bool:
        """Await a coroutine; return False, and cancel it, if the supervisor stops first."""
        task, stop = asyncio.create_task(coroutine), asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        finally:
            task.cancel()
            stop.cancel()
        return not self.stopping.is_set()

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP and self._restart_on_sighup:
            self._restart_requested.set()
            return
        if self._stop.forced:
            return
        self._stop.receive(number)
        self._begin_stop()
        if self._stop.forced:
            self.failed = True
            for slot in self.slots:
                if slot.worker:
                    slot.worker.kill("second signal")
            if self._owner:
                self._owner.cancel()

    def _begin_stop(self) -> None:
        self.stopping.set()
        self._restarter.cancel()

    async def _keep(self, slot: "Slot") -> None:
        if not await slot.keep_filled(self.stopping):
            self.failed = True
        self._begin_stop()

    async def _restart_on_request(self) -> None:
        await self.wait_ready()
        while True:
            await self._restart_requested.wait()
            self._restart_requested.clear()
            if reason := await self._restart():
                log(logging.ERROR, "restart stopped", reason=f"{reason}; the others are left as they are")
            else:
                log(logging.INFO, "all workers restarted")

    async def _restart(self) -> str:
        """Restart one worker after the other, as long as all others are ready; return what stopped it, if anything."""
        for slot in self.slots:
            for other in self.slots:
                if other is not slot and not (other.worker and other.worker.ready):
                    return f"worker {other.number} is not ready"
            log(logging.INFO, "restarting worker", worker=slot.number)
            try:
                ready = await asyncio.wait_for(slot.restart(), _RESTART_TIMEOUT_S)
            except TimeoutError:
                ready = False
            if not ready:
                return f"worker {slot.number} did not become ready"
            await asyncio.sleep(_SETTLE_S)
        return ""


class Slot:
    """Slot for one worker process and its replacements."""

    def __init__(self, target: Target, number: int, metrics_dir: str | None) -> None:
        self.number = number
        self.worker: Worker | None = None
        self._target = target
        self._metrics_dir = metrics_dir
        self._filled = asyncio.Event()
        self._backoff_s = 0.0

    async def keep_filled(self, stopping: asyncio.Event) -> bool:
        """Run one worker after the other until the supervisor stops; return whether the last one exited with 0.

        Returns early if the first worker ends before it is ready: a replacement would probably fail in the same way.
        """
        proven, succeeded = False, True
        while not stopping.is_set():
            try:
                worker = self.worker = Worker(self._target, self.number, self._metrics_dir)
            except OSError as error:  # no memory or file descriptors left: there may be some later
                log(logging.ERROR, "worker not started", error=type(error).__qualname__)
                succeeded, delay_s = False, _MAX_BACKOFF_S
            else:
                self._filled.set()
                status = await worker.exit_status
                proven |= worker.became_ready.result()
                succeeded, delay_s = status == 0, self._delay_s(worker)
                if self._metrics_dir:
                    mark_process_dead(self.number, self._metrics_dir)  # type: ignore[no-untyped-call]
                if not stopping.is_set():
                    level = logging.ERROR if status else logging.INFO
                    log(level, "worker ended", worker=self.number, pid=worker.pid, status=status)
            if not proven:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), delay_s)
        return succeeded

    def _delay_s(self, worker: Worker) -> float:
        """How long to wait before the replacement of a worker starts; longer each time if it keeps ending early."""
        if worker.draining:  # a restart
            self._backoff_s = 0.0
            return 0.0
        uptime_s = asyncio.get_running_loop().time() - worker.started_s
        early = uptime_s < _MIN_UPTIME_S and self._backoff_s > 0
        self._backoff_s = min(_MAX_BACKOFF_S, 2 * self._backoff_s) if early else 1.0
        return max(0.0, self._backoff_s - uptime_s)

    async def wait_ready(self) -> bool:
        """Wait until the worker is ready; return False if it ends before."""
        await self._filled.wait()
        assert self.worker
        return await asyncio.shield(self.worker.became_ready)

    async def restart(self) -> bool:
        """Drain the worker and start a replacement; return whether that becomes ready."""
        self._filled.clear()
        if self.worker:
            self.worker.drain()
        return await self.wait_ready()
