"""Open-loop load: a request leaves when it is due, whatever has become of those before it.

Latency counts from when a request was due, so a server that stalls is charged for everyone who came meanwhile; a closed
loop, which waits for an answer before it asks again, leaves those out (coordinated omission: Gil Tene, "How NOT to
Measure Latency", 2013). Arrivals are those of a Poisson process, as those of many independent callers are. Connections
are kept, and the one that was used last is used again, so few of them carry most of a light load.
"""

import asyncio
import contextlib
import math
import multiprocessing
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.synchronize import Barrier
from typing import Self
from urllib.parse import urlsplit

import httptools
import numpy as np

MOST_CONNECTIONS = 8000  # of one process; who would need more is counted as not answered
PATIENCE_S = 15.0  # for the last answers
NOT_ANSWERED = 0  # instead of a status


@dataclass(frozen=True)
class Phase:
    """So many requests a second, for so long."""

    rate_per_s: float
    seconds: float


@dataclass(frozen=True)
class Sample:
    """What became of each request, as arrays of one length, by the time they were due."""

    due_s: np.ndarray  # since the load began
    late_ms: np.ndarray  # how long after that it was sent: the generator's own fault
    latency_ms: np.ndarray  # from due to answered; infinite where that never came
    status: np.ndarray

    def during(self, from_s: float, to_s: float) -> Self:
        """What was due in a span of time."""
        return self._where((self.due_s >= from_s) & (self.due_s < to_s))

    def answered(self, *statuses: int) -> Self:
        """What was answered with one of these."""
        return self._where(np.isin(self.status, statuses))

    def within(self, deadline_ms: float) -> Self:
        """What was answered in time."""
        return self._where(self.latency_ms <= deadline_ms)

    def percentile(self, percent: float) -> float:
        """Of the latencies, in milliseconds; NaN where there are none."""
        return float(np.percentile(self.latency_ms, percent)) if len(self) else float("nan")

    def __len__(self) -> int:
        return len(self.due_s)

    def _where(self, chosen: np.ndarray) -> Self:
        return type(self)(self.due_s[chosen], self.late_ms[chosen], self.latency_ms[chosen], self.status[chosen])


def offer(
    address: str,
    bodies: Sequence[bytes],
    phases: Sequence[Phase],
    *,
    path: str = "/predict",
    headers: Mapping[str, str] | None = None,
    processes: int = 1,
    seed: int = 0,
) -> Sample:
    """Post the bodies, again from the first when they are used up, in `processes` processes that share the rate."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    share = [Phase(phase.rate_per_s / processes, phase.seconds) for phase in phases]
    requests = [request(address, path, body, headers or {}) for body in bodies]
    work = [(address, requests[n::processes], share, seed * processes + n) for n in range(processes)]
    with context.Pool(processes, _join, (barrier,)) as pool:
        columns = np.concatenate(pool.map(_work, work, chunksize=1))
    return Sample(*columns[columns[:, 0].argsort()].T)


def request(address: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A request of HTTP/1.1, as bytes."""
    lines = {"Host": urlsplit(address).netloc, "Content-Type": "application/json", "Content-Length": f"{len(body)}"}
    head = "".join(f"{name}: {value}\r\n" for name, value in (lines | dict(headers)).items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def arrivals(phases: Sequence[Phase], rng: np.random.Generator) -> np.ndarray:
    """Seconds at which requests are due: a Poisson process whose rate changes from phase to phase."""
    start_s, found = 0.0, []
    for phase in phases:
        number = rng.poisson(phase.rate_per_s * phase.seconds)
        found.append(start_s + np.sort(rng.uniform(0, phase.seconds, number)))
        start_s += phase.seconds
    return np.concatenate(found)


_barrier: Barrier


def _join(barrier: Barrier) -> None:
    global _barrier  # noqa: PLW0603 - a barrier can reach a process of a pool in no other way
    _barrier = barrier


def _work(work: tuple[str, list[bytes], list[Phase], int]) -> np.ndarray:
    address, requests, phases, seed = work
    due_s = arrivals(phases, np.random.default_rng(seed))
    _barrier.wait()
    return asyncio.run(_Offer(address, cycle(requests), due_s).run())


class _Offer:
    """The requests of one process. Columns of what it finds: those of `Sample`."""

    def __init__(self, address: str, requests: Iterator[bytes], due_s: np.ndarray) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname, parts.port
        self._requests, self._due_s = requests, due_s
        self._idle: deque[_Connection] = deque()
        self._connections = 0
        self._found = np.zeros((len(due_s), 4))
        self._found[:, 0] = due_s
        self._found[:, 2] = math.inf
        self._open = len(due_s)
        self._over = asyncio.Event()
        self._begun_s = 0.0

    async def run(self) -> np.ndarray:
        self._begun_s = time.monotonic() + 0.05
        opening: set[asyncio.Task[None]] = set()
        for number, due_s in enumerate(self._due_s):
            if (ahead_s := self._begun_s + due_s - time.monotonic()) > 0:
                await asyncio.sleep(ahead_s)
            if self._idle:
                self._idle.pop().ask(number, next(self._requests))  # the one used last: the others may be left to idle
            elif self._connections < MOST_CONNECTIONS:
                self._connections += 1
                task = asyncio.create_task(self._connect(number))
                opening.add(task)
                task.add_done_callback(opening.discard)
            else:
                self.answered(number, NOT_ANSWERED)
            if number % 16 == 0:
                await asyncio.sleep(0)  # answers are taken while requests are behind
        if self._open:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), PATIENCE_S)
        return self._found

    async def _connect(self, number: int) -> None:
        try:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(lambda: _Connection(self), self._host, self._port)
        except OSError:
            self._connections -= 1
            self.answered(number, NOT_ANSWERED)
        else:
            connection.ask(number, next(self._requests))

    def sent(self, number: int) -> None:
        self._found[number, 1] = (time.monotonic() - self._begun_s - self._due_s[number]) * 1000

    def answered(self, number: int, status: int) -> None:
        elapsed_ms = (time.monotonic() - self._begun_s - self._due_s[number]) * 1000
        self._found[number, 2] = elapsed_ms if status != NOT_ANSWERED else math.inf
        self._found[number, 3] = status
        self._open -= 1
        if not self._open:
            self._over.set()

    def free(self, connection: "_Connection") -> None:
        self._idle.append(connection)

    def lost(self, connection: "_Connection") -> None:
        self._connections -= 1
        if connection in self._idle:
            self._idle.remove(connection)


class _Connection(asyncio.Protocol):
    """One request after another."""

    def __init__(self, offer: _Offer) -> None:
        self._offer = offer
        self._asked: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, number: int, request: bytes) -> None:
        self._asked = number
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)
        self._offer.sent(number)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        assert self._asked is not None
        self._offer.answered(self._asked, self._parser.get_status_code())
        self._asked = None
        if self._parser.should_keep_alive():
            self._offer.free(self)
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._offer.lost(self)
        if self._asked is not None:
            self._offer.answered(self._asked, NOT_ANSWERED)
