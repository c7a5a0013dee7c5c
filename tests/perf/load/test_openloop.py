"""The open-loop load, against servers whose faults are known."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from nginx.process import free_port
from perf.load.openloop import NOT_ANSWERED, Phase, Sample, arrivals, offer, request

BODIES = [f'{{"text": "{number}"}}'.encode() for number in range(50)]


class Peer:
    """A server that answers at once, or as told; it keeps the bodies."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.status = 200
        self.address = ""
        self.stall_at, self.stall_s = -1, 0.0
        self.cut_at = -1

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.bodies.append(await reader.readexactly(length))
                if len(self.bodies) == self.stall_at:
                    time.sleep(self.stall_s)  # noqa: ASYNC251 - the whole server stands still
                if len(self.bodies) == self.cut_at:
                    return
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % self.status)


@pytest.fixture
def peer() -> Iterator[Peer]:
    found, up, over = Peer(), threading.Event(), threading.Event()

    async def serve() -> None:
        server = await asyncio.start_server(found.answer, "127.0.0.1", 0)
        found.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        up.set()
        await asyncio.to_thread(over.wait)
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    up.wait()
    yield found
    over.set()
    thread.join()


def test_arrivals_are_those_of_a_poisson_process() -> None:
    due_s = arrivals([Phase(1000, 20), Phase(0, 1), Phase(100, 20)], np.random.default_rng(1))
    fast, slow = due_s[due_s < 20], due_s[due_s >= 20]
    assert len(fast) == pytest.approx(20_000, rel=0.05)
    assert len(slow) == pytest.approx(2000, rel=0.1)
    assert slow.min() >= 21
    gaps_s = np.diff(fast)
    assert gaps_s.min() >= 0
    assert gaps_s.std() == pytest.approx(gaps_s.mean(), rel=0.05)  # as of an exponential distribution


def test_a_request_is_one_of_http() -> None:
    assert request("http://example.com:81", "/predict", b"{}", {"X-A": "1"}) == (
        b"POST /predict HTTP/1.1\r\nHost: example.com:81\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        b"X-A: 1\r\n\r\n{}"
    )


def test_every_request_is_sent_once_and_answered(peer: Peer) -> None:
    found = offer(peer.address, BODIES, [Phase(200, 0.5)], processes=2)
    assert 50 < len(found) < 170
    assert len(found) == len(peer.bodies) == len(found.answered(200))
    assert set(peer.bodies) == set(BODIES)
    assert (np.diff(found.due_s) >= 0).all()
    assert (found.latency_ms >= found.late_ms).all()
    assert (found.late_ms >= 0).all()


def test_a_server_that_stands_still_is_charged_for_all_who_came_meanwhile(peer: Peer) -> None:
    peer.stall_at, peer.stall_s = 40, 0.5
    found = offer(peer.address, BODIES, [Phase(200, 1)])
    late = found.latency_ms > 100
    assert late.sum() > 0.4 * 200 * 0.5  # a closed loop would have seen one
    assert found.percentile(99) > 400


def test_refusals_and_broken_connections_are_told_apart(peer: Peer) -> None:
    peer.status, peer.cut_at = 429, 5
    found = offer(peer.address, BODIES, [Phase(100, 0.3)])
    assert len(found.answered(429)) == len(found) - 1
    assert len(found.answered(NOT_ANSWERED)) == 1


def test_nobody_listens() -> None:
    found = offer(f"http://127.0.0.1:{free_port()}", BODIES, [Phase(100, 0.2)])
    assert len(found.answered(NOT_ANSWERED)) == len(found) > 0


def test_a_sample_is_looked_at_by_time_status_and_deadline() -> None:
    columns = np.array([[0.1, 0, 5, 200], [0.2, 0, 500, 200], [0.3, 0, 1, 429]]).T
    sample = Sample(*columns)
    assert len(sample.answered(200).within(100)) == 1
    assert len(sample.during(0.2, 0.3)) == 1
    assert sample.answered(429).percentile(50) == 1
    assert np.isnan(sample.answered(500).percentile(50))
