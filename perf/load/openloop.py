"""Open-loop load: each request is sent when it is due, even if earlier ones have no response yet.

Latency counts from the time a request was due. If a server stalls, all requests that were due during the stall count as
slow. A closed loop waits for a response before it sends the next request, so it never sends them (coordinated omission:
Gil Tene, "How NOT to Measure Latency", 2013). Arrivals follow a Poisson process, as those of many independent clients
do. Connections are kept alive, and the one used last is used first, so a light load needs few of them.
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

MAX_CONNECTIONS = 8000  # per process; a request that would need one more counts as not answered
DRAIN_TIMEOUT_S = 15.0  # for the last responses
NOT_ANSWERED = 0  # in place of a status


@dataclass(frozen=True)
class Phase:
    """A constant request rate for a number of seconds."""

    rate_per_s: float
    seconds: float


@dataclass(frozen=True)
class Sample:
    """The outcome of each request, as arrays of equal length, ordered by `due_s`."""

    due_s: np.ndarray  # since the start of the load
    late_ms: np.ndarray  # from due to sent: the delay of the load generator itself
    latency_ms: np.ndarray  # from due to answered; infinite without a response
    status: np.ndarray
    right: np.ndarray  # 1 if the response has what was expected of it, else 0

    def during(self, from_s: float, to_s: float) -> Self:
        """Requests that were due in a span of time."""
        return self._where((self.due_s >= from_s) & (self.due_s < to_s))

    def with_status(self, status: int) -> Self:
        return self._where(self.status == status)

    def within(self, deadline_ms: float) -> Self:
        """Requests that were answered in time."""
        return self._where(self.latency_ms <= deadline_ms)

    def percentile(self, percent: float) -> float:
        """A percentile of the latency in milliseconds; NaN for an empty sample."""
        return float(np.percentile(self.latency_ms, percent)) if len(self) else float("nan")

    def __len__(self) -> int:
        return len(self.due_s)

    def _where(self, mask: np.ndarray) -> Self:
        return type(self)(
            self.due_s[mask], self.late_ms[mask], self.latency_ms[mask], self.status[mask], self.right[mask]
        )


def offer(
    address: str,
    bodies: Sequence[bytes],
    phases: Sequence[Phase],
    *,
    path: str = "/predict",
    headers: Mapping[str, str] | None = None,
    processes: int = 1,
    seed: int = 0,
    expected: Sequence[bytes] | None = None,
) -> Sample:
    """Post the bodies, in order and repeatedly, at the rates of the phases. The processes share the rate equally.

    `expected` has, for each body, what the body of a right response contains.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    share = [Phase(phase.rate_per_s / processes, phase.seconds) for phase in phases]
    contents = (encode_request(address, path, body, headers or {}) for body in bodies)
    requests = [*zip(contents, expected or [b""] * len(bodies), strict=True)]
    work = [(address, requests[n::processes], share, seed * processes + n) for n in range(processes)]
    with context.Pool(processes, _set_barrier, (barrier,)) as pool:
        columns = np.concatenate(pool.map(_work, work, chunksize=1))
    return Sample(*columns[columns[:, 0].argsort()].T)


def encode_request(address: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A POST request as the bytes of HTTP/1.1."""
    lines = {"Host": urlsplit(address).netloc, "Content-Type": "application/json", "Content-Length": f"{len(body)}"}
    head = "".join(f"{name}: {value}\r\n" for name, value in (lines | dict(headers)).items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def arrivals(phases: Sequence[Phase], rng: np.random.Generator) -> np.ndarray:
    """Seconds at which requests are due: a Poisson process whose rate changes from phase to phase."""
    start_s, parts = 0.0, []
    for phase in phases:
        number = rng.poisson(phase.rate_per_s * phase.seconds)
        parts.append(start_s + np.sort(rng.uniform(0, phase.seconds, number)))
        start_s += phase.seconds
    return np.concatenate(parts)


_barrier: Barrier


def _set_barrier(barrier: Barrier) -> None:
    global _barrier  # noqa: PLW0603 - a barrier can be passed to a pool only through its initializer
    _barrier = barrier


def _work(work: tuple[str, list[tuple[bytes, bytes]], list[Phase], int]) -> np.ndarray:
    address, requests, phases, seed = work
    due_s = arrivals(phases, np.random.default_rng(seed))
    _barrier.wait()
    return asyncio.run(_Generator(address, cycle(requests), due_s).run())


class _Generator:
    """Sends the requests of one process. Returns one row per request, with the columns of `Sample`."""

    def __init__(self, address: str, requests: Iterator[tuple[bytes, bytes]], due_s: np.ndarray) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname, parts.port
        self._requests, self._due_s = requests, due_s
        self._idle: deque[_Connection] = deque()
        self._connections = 0
        self._rows = np.zeros((len(due_s), 5))
        self._rows[:, 0] = due_s
        self._rows[:, 2] = math.inf
        self._pending = len(due_s)
        self._all_done = asyncio.Event()
        self._started_s = 0.0

    async def run(self) -> np.ndarray:
        self._started_s = time.monotonic() + 0.05
        connecting: set[asyncio.Task[None]] = set()
        for number, due_s in enumerate(self._due_s):
            if (ahead_s := self._started_s + due_s - time.monotonic()) > 0:
                await asyncio.sleep(ahead_s)
            if self._idle:
                self._idle.pop().send(number, *next(self._requests))
            elif self._connections < MAX_CONNECTIONS:
                self._connections += 1
                task = asyncio.create_task(self._connect(number))
                connecting.add(task)
                task.add_done_callback(connecting.discard)
            else:
                self.on_response(number, NOT_ANSWERED)
            if number % 16 == 0:
                await asyncio.sleep(0)  # reads responses even when the generator is behind
        if self._pending:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_done.wait(), DRAIN_TIMEOUT_S)
        return self._rows

    async def _connect(self, number: int) -> None:
        try:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(lambda: _Connection(self), self._host, self._port)
        except OSError:
            self._connections -= 1
            self.on_response(number, NOT_ANSWERED)
        else:
            connection.send(number, *next(self._requests))

    def on_sent(self, number: int) -> None:
        self._rows[number, 1] = self._since_due_ms(number)

    def on_response(self, number: int, status: int, *, right: bool = False) -> None:
        self._rows[number, 2] = self._since_due_ms(number) if status != NOT_ANSWERED else math.inf
        self._rows[number, 3:] = status, right
        self._pending -= 1
        if not self._pending:
            self._all_done.set()

    def on_idle(self, connection: "_Connection") -> None:
        self._idle.append(connection)

    def on_closed(self, connection: "_Connection") -> None:
        self._connections -= 1
        if connection in self._idle:
            self._idle.remove(connection)

    def _since_due_ms(self, number: int) -> float:
        return float(time.monotonic() - self._started_s - self._due_s[number]) * 1000


class _Connection(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self, generator: _Generator) -> None:
        self._generator = generator
        self._number: int | None = None  # of the request in flight

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, number: int, request: bytes, expected: bytes) -> None:
        self._number = number
        self._expected, self._body = expected, b""
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)
        self._generator.on_sent(number)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        assert self._number is not None
        right = self._expected in self._body
        self._generator.on_response(self._number, self._parser.get_status_code(), right=right)
        self._number = None
        if self._parser.should_keep_alive():
            self._generator.on_idle(self)
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._generator.on_closed(self)
        if self._number is not None:
            self._generator.on_response(self._number, NOT_ANSWERED)
