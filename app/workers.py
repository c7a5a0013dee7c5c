"""Several processes that serve one address, and the one that looks after them: `serve --workers N`.

Each worker is the whole service, with a model, a cache and a queue of its own. They listen on one port side by side
(SO_REUSEPORT), and the kernel gives each connection to one of them. What they count is added up in `/metrics`.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead

from app.logs import log

Heart = Connection  # the end of a pipe on which a worker beats as long as it serves
Work = Callable[[Heart], None]

BEAT_S = 0.5
_SILENT_S = 5.0  # an event loop that does not come round for so long has frozen
_RESPAWN_S = 1.0  # a worker that ends at once would otherwise be started in a tight loop


class Supervisor:
    """Starts workers, replaces those that end or freeze, and ends them all when it is told to end itself."""

    def __init__(self, work: Work, count: int, address: str) -> None:
        """`work` runs in each process, and has to `beat` on what it is given."""
        self._work = work
        self._count = count
        self._address = address
        self._workers: list[_Worker] = []
        self._proven = False  # all have served: whatever ends one now is worth another try
        self._ending = self._failed = False
        self._started_s = time.monotonic()

    def run(self) -> int:
        """Serve until told to end; return the exit status, which is 1 when a worker failed that none could replace."""
        wakes, waker = multiprocessing.Pipe(duplex=False)
        os.set_blocking(waker.fileno(), False)
        signal.set_wakeup_fd(waker.fileno())  # a signal ends the wait below
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        with tempfile.TemporaryDirectory(prefix="rt-sentiment-metrics-") as folder:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # inherited: prometheus_client counts in files there
            self._workers = [_Worker(self._work) for _ in range(self._count)]
            log(logging.INFO, "listening", address=self._address, status="loading", workers=self._count)
            while self._workers:
                sources: list[Heart | int] = [wakes, *(source for worker in self._workers for source in worker.sources)]
                for source in wait(sources, BEAT_S):
                    if source is wakes:
                        os.read(wakes.fileno(), 4096)
                self._look_after()
        log(logging.INFO, "stopped", seconds=self._seconds(1))
        return int(self._failed)

    def _look_after(self) -> None:
        for place, worker in reversed(list(enumerate(self._workers))):
            worker.listen()
            if worker.frozen and not self._ending:
                log(logging.ERROR, "worker frozen", pid=worker.pid)
                worker.end(signal.SIGKILL)
            elif worker.status is None:
                continue
            elif self._ending or not self._proven:
                del self._workers[place]
                self._failed |= worker.status not in {0, -signal.SIGTERM}
                if not self._ending:
                    self._end()
            elif time.monotonic() > worker.started_s + _RESPAWN_S:
                log(logging.ERROR, "worker ended", pid=worker.pid, status=worker.status)
                mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
                self._workers[place] = _Worker(self._work)
        if not self._proven and self._workers and all(worker.serves for worker in self._workers):
            self._proven = True
            pids = [worker.pid for worker in self._workers]
            log(logging.INFO, "ready", address=self._address, seconds=self._seconds(2), workers=pids)

    def _end(self, *_: int | FrameType | None) -> None:
        """First signal: all drain. Second: all end at once, which is what two signals mean to a worker."""
        self._ending = True
        for worker in self._workers:
            worker.end(signal.SIGTERM)

    def _seconds(self, digits: int) -> float:
        return round(time.monotonic() - self._started_s, digits)


class _Worker:
    """One process, and when it was last heard of."""

    def __init__(self, work: Work) -> None:
        context = multiprocessing.get_context("spawn")  # what is forked has locks of threads that it does not have
        self._heart, theirs = context.Pipe(duplex=False)
        os.set_blocking(theirs.fileno(), False)
        self._process: BaseProcess = context.Process(target=_run, args=(work, theirs))
        self._process.start()
        theirs.close()
        self.started_s = time.monotonic()
        self._heard_s: float | None = None
        self.sources: list[Heart | int] = [self._heart, self._process.sentinel]

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return self._process.exitcode

    @property
    def serves(self) -> bool:
        return self._heard_s is not None

    @property
    def frozen(self) -> bool:
        return self.status is None and self._heard_s is not None and time.monotonic() > self._heard_s + _SILENT_S

    def listen(self) -> None:
        """Take note of its beats."""
        if self._heart in self.sources and self._heart.poll():
            if os.read(self._heart.fileno(), 4096):
                self._heard_s = time.monotonic()
            else:
                self.sources.remove(self._heart)  # it has ended

    def end(self, number: signal.Signals) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _run(work: Work, heart: Heart) -> None:
    os.setsid()  # Ctrl-C is for the supervisor
    work(heart)


async def beat(heart: Heart, each_time: Callable[[], None], orphaned: Callable[[], None]) -> None:
    """Tell the supervisor that the event loop goes round; say so once when there is no supervisor any more."""
    while True:
        each_time()
        try:
            os.write(heart.fileno(), b".")
        except BlockingIOError:  # it is stopped: not our concern
            pass
        except OSError:
            return orphaned()
        await asyncio.sleep(BEAT_S)
