"""Starts worker processes, replaces those that end or freeze, restarts them one after the other, and drains them.

`rt-sentiment serve --workers N` runs N workers on one port. `make replicas N=2` runs two behind nginx, each on its own
port. A worker is the whole service, with its own model, cache and queue.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from types import TracebackType

from ..logs import log
from .signals import Stop
from .worker import SIGNALS, Target, Worker

_MAX_BACKOFF_S = 30.0  # between two starts, if a worker ends again and again within this time
_RESTART_TIMEOUT_S = 120
_SETTLE_S = 1  # between two restarts: nginx can still retry at the first worker what the second one refuses


def serve_workers(target: Target, count: int, address: str, metrics_dir: str) -> int:
    """Run `count` workers at one address until a signal ends them; return the exit status.

    `metrics_dir` is an empty directory for the metrics that the workers share.
    """
    return asyncio.run(_serve_workers(Supervisor([target] * count, metrics_dir=metrics_dir), address))


async def _serve_workers(supervisor: "Supervisor", address: str) -> int:
    started_s = time.monotonic()
    async with supervisor:
        log(logging.INFO, "starting", address=address, workers=len(supervisor.workers))
        if await supervisor.until(lambda: any(supervisor.ready)):
            log(logging.INFO, "listening", address=address, status="ok")
        if await supervisor.until(lambda: all(supervisor.ready)):
            seconds = round(time.monotonic() - started_s, 2)
            log(
                logging.INFO,
                "ready",
                address=address,
                seconds=seconds,
                workers=[worker.pid for worker in supervisor.workers],
            )
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
        self.workers = [Worker(target, number, metrics_dir, self._on_change) for number, target in enumerate(targets)]
        self.stopping = asyncio.Event()
        self.failed = False  # a worker failed at the start or at the end
        self._changed = asyncio.Event()
        self._restart_on_sighup = restart_on_sighup
        self._restart_requested = asyncio.Event()
        self._stop = Stop()

    @property
    def ready(self) -> list[bool]:
        return [worker.ready for worker in self.workers]

    async def until(self, condition: Callable[[], bool]) -> bool:
        """Wait until the workers fulfil a condition; return False if the supervisor stops first."""
        while not self.stopping.is_set() and not condition():
            await self._changed.wait()
        return not self.stopping.is_set()

    def stop(self) -> None:
        """Start no more processes; those that run are drained when the context is left."""
        self._restarter.cancel()
        self.stopping.set()
        self._on_change()

    async def __aenter__(self) -> "Supervisor":
        self._owner = asyncio.current_task()
        for number in SIGNALS:
            # Signals that the parent ignores stay ignored: nohup does it with SIGHUP, shells with the SIGINT of
            # background jobs. SIGHUP is handled anyway if it restarts the workers instead of stopping them.
            restarts = number == signal.SIGHUP and self._restart_on_sighup
            if restarts or signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)
        resource_tracker.ensure_running()  # it unblocks signals, which the start of the first worker must not do
        self._keepers = [asyncio.create_task(self._keep(worker)) for worker in self.workers]
        self._restarter = asyncio.create_task(self._restart_on_request())
        return self

    async def __aexit__(self, _kind: object, _error: BaseException | None, _trace: TracebackType | None) -> bool:
        self.stop()
        for worker in self.workers:
            worker.drain()
        while not all(keeper.done() for keeper in self._keepers):
            with contextlib.suppress(asyncio.CancelledError):  # by a second signal, which has killed the workers
                await asyncio.wait(self._keepers)
        return self._stop.forced  # if so, the CancelledError ends here

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP and self._restart_on_sighup:
            self._restart_requested.set()
        elif not self._stop.forced:
            self._stop.receive(number)
            self.stop()
            if self._stop.forced and self._owner:
                self.failed = True
                for worker in self.workers:
                    worker.kill("second signal")
                self._owner.cancel()

    def _on_change(self) -> None:
        self._changed.set()  # wakes every `until`
        self._changed.clear()

    async def _keep(self, worker: Worker) -> None:
        """Run one process after the other, until the supervisor stops."""
        backoff_s, status = 0.5, 0
        while not self.stopping.is_set():
            started_s = time.monotonic()
            try:
                status = await worker.run()
            except OSError as error:  # no memory or file descriptors left: there may be some later
                log(logging.ERROR, "worker not started", error=type(error).__qualname__)
                status = 1
            else:
                log(logging.ERROR if status else logging.INFO, "worker ended", pid=worker.pid, status=status)
            if not worker.was_ready:  # a replacement would probably fail in the same way
                break
            uptime_s = time.monotonic() - started_s
            backoff_s = min(_MAX_BACKOFF_S, 2 * backoff_s) if uptime_s < _MAX_BACKOFF_S else 1.0
            with contextlib.suppress(TimeoutError):
                delay_s = 0.0 if worker.draining else max(0.0, backoff_s - uptime_s)
                await asyncio.wait_for(self.stopping.wait(), delay_s)
        self.failed |= status != 0
        self.stop()

    async def _restart_on_request(self) -> None:
        await self.until(lambda: all(self.ready))
        while True:
            await self._restart_requested.wait()
            self._restart_requested.clear()
            if reason := await self._restart():
                log(logging.ERROR, "restart stopped", reason=f"{reason}; the other workers keep running")
            else:
                log(logging.INFO, "all workers restarted")

    async def _restart(self) -> str:
        """Restart one worker after the other, as long as all others are ready; return what stopped it, if anything."""
        for worker in self.workers:
            if waiting := [other.number for other in self.workers if other is not worker and not other.ready]:
                return f"worker {waiting[0]} is not ready"
            log(logging.INFO, "restarting worker", worker=worker.number, pid=worker.pid)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._restart_worker(worker), _RESTART_TIMEOUT_S)
            if not worker.ready:
                return f"worker {worker.number} did not become ready"
            await asyncio.sleep(_SETTLE_S)
        return ""

    async def _restart_worker(self, worker: Worker) -> None:
        """Drain a worker; return when its replacement is ready or has failed."""
        starts = worker.starts
        worker.drain()
        await self.until(lambda: worker.starts > starts and (worker.ready or not worker.running))
