"""Several processes that serve one address, and the one that looks after them: `serve --workers N`.

Each worker is the whole service, with a model, a cache and a queue of its own. They listen on one port side by side
(SO_REUSEPORT), and the kernel gives each connection to one of them. What they count is added up in `/metrics`.

Between the supervisor and each worker is a pipe. The worker beats on it, and takes its orders from it: signals are for
the supervisor alone, or whoever signals all processes at once (systemd, a terminal) would tell the workers twice.
"""

import asyncio
import contextlib
import logging
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType

from prometheus_client import values
from prometheus_client.multiprocess import mark_process_dead

from ..logs import log
from .signals import Stop

Pipe = Connection
Work = Callable[[Pipe], None]

BEAT_S = 0.5
_LOADING, _SERVING, _END = b".", b"+", b"!"
_SILENT_S = 5.0  # an event loop that does not come round for so long has frozen
_YOUNG_S = 30.0  # for one that dies younger than this, there is twice as long no other as the last time
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


class Supervisor:
    """Starts workers, replaces those that end or freeze, and ends them all when it is told to end itself."""

    def __init__(self, work: Work, count: int, address: str, counts: str) -> None:
        """`work` runs in each process, and has to `beat` on the pipe that it is given.

        `counts` is an empty directory, where prometheus_client counts in files.
        """
        self._places = [_Place(number, work) for number in range(count)]
        self._address = address
        self._counts = counts
        self._listening = self._proven = False  # one has served; all have: what ends one now is worth another try
        self._stop = Stop()
        self._failed = False
        self._started_s = time.monotonic()

    def run(self) -> int:
        """Serve until told to end; return 1 when a worker failed at the start or at the end, else 0."""
        wakes, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker)  # a signal ends the wait below
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                signal.signal(number, self._on_signal)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = self._counts  # inherited
        log(logging.INFO, "starting", address=self._address, workers=len(self._places))
        resource_tracker.ensure_running()  # or the first start below would, and let in the signals that it keeps out
        for place in self._places:
            place.fill()
        while self._places:
            workers = [place.worker for place in self._places if place.worker]
            sources = [wakes, *(source for worker in workers for source in worker.sources)]
            if wakes in wait(sources, BEAT_S):
                os.read(wakes, 4096)
            self._look_after()
        log(logging.INFO, "stopped", seconds=self._seconds(1))
        return int(self._failed)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._stop.receive(number)

    def _look_after(self) -> None:
        """After a first signal all drain; after a second one all end at once."""
        for place in self._places.copy():
            worker = place.worker
            if worker:
                worker.listen()
            if worker and worker.status is None:
                if self._stop.forced or worker.frozen:
                    worker.kill()
                elif self._stop.requested:
                    worker.tell()
            elif self._proven and not self._stop.requested:
                place.fill()
            else:
                self._places.remove(place)
                self._failed |= worker is None or worker.status != 0
                self._stop.requested = True  # one that cannot start is the end of all
        workers = [place.worker for place in self._places if place.worker]
        if not self._listening and any(worker.serves for worker in workers):
            self._listening = True
            log(logging.INFO, "listening", address=self._address, status="ok")
        if not self._proven and workers and not self._stop.requested and all(worker.serves for worker in workers):
            self._proven = True
            pids = [worker.pid for worker in workers]
            log(logging.INFO, "ready", address=self._address, seconds=self._seconds(2), workers=pids)

    def _seconds(self, digits: int) -> float:
        return round(time.monotonic() - self._started_s, digits)


class _Place:
    """Where one worker is, and after it another."""

    def __init__(self, number: int, work: Work) -> None:
        self._number = number
        self._work = work
        self._wait_s = 0.0
        self._next_s = -math.inf
        self.worker: _Worker | None = None

    def fill(self) -> None:
        """Start a worker where none runs: at once, or some time after the start of one that died young."""
        now_s = time.monotonic()
        if self.worker:
            log(logging.ERROR, "worker ended", pid=self.worker.pid, status=self.worker.status)
            mark_process_dead(self._number)  # type: ignore[no-untyped-call]
            young = now_s < self.worker.started_s + _YOUNG_S
            self._wait_s = min(_YOUNG_S, 2 * self._wait_s) if young and self._wait_s else 1.0
            self._next_s = self.worker.started_s + self._wait_s
            self.worker = None
        if now_s >= self._next_s:
            try:
                self.worker = _Worker(self._work, self._number)
            except OSError as error:  # no memory or descriptors are left: there may be some later
                log(logging.ERROR, "worker not started", error=type(error).__qualname__)
                self._next_s = now_s + _YOUNG_S


class _Worker:
    """One process, and what was heard of it."""

    def __init__(self, work: Work, number: int) -> None:
        context = multiprocessing.get_context("spawn")  # what is forked has locks of threads that it does not have
        self._pipe, theirs = context.Pipe()
        for end in (self._pipe, theirs):
            os.set_blocking(end.fileno(), False)
        self._process: BaseProcess = context.Process(target=_run, args=(work, theirs, number))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # inherited; our own come when that is over
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        self.started_s = time.monotonic()
        self._heard_s = math.inf  # nothing yet
        self._told = self._killed = self.serves = False

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return self._process.exitcode

    @property
    def frozen(self) -> bool:
        return time.monotonic() > self._heard_s + _SILENT_S

    @property
    def sources(self) -> list[Pipe | int]:
        """What changes when there is something to look at."""
        return [self._pipe, self._process.sentinel] if self.status is None else []

    def listen(self) -> None:
        """Take note of its beats."""
        with contextlib.suppress(OSError):
            if said := os.read(self._pipe.fileno(), 4096):
                self._heard_s = time.monotonic()
                self.serves |= _SERVING in said

    def tell(self) -> None:
        """Tell it, once, to answer what it owes and to end."""
        if not self._told:
            self._told = True
            with contextlib.suppress(OSError):
                os.write(self._pipe.fileno(), _END)

    def kill(self) -> None:
        """End it at once."""
        if not self._killed:
            self._killed = True
            log(logging.ERROR, "worker killed", pid=self.pid, frozen=self.frozen)
            self._process.kill()


def _run(work: Work, pipe: Pipe, number: int) -> None:
    # By place rather than by process, so that a successor counts on where its predecessor stopped.
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]
    work(pipe)


async def beat(pipe: Pipe, serves: Callable[[], bool], each_time: Callable[[], None], end: Callable[[], None]) -> None:
    """Tell the supervisor that the event loop goes round; call `end` when it says so, or is not there any more."""
    loop = asyncio.get_running_loop()

    def take_order() -> None:
        loop.remove_reader(pipe.fileno())
        end()

    loop.add_reader(pipe.fileno(), take_order)
    while True:
        if serves():
            each_time()
        with contextlib.suppress(OSError):  # it is stopped, or gone
            os.write(pipe.fileno(), _SERVING if serves() else _LOADING)
        await asyncio.sleep(BEAT_S)
