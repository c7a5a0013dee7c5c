"""The open-loop load generator, against servers with known faults."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from nginx.process import free_port
from perf.load.openloop import NOT_ANSWERED, Phase, Sample, arrivals, encode_request, offer

BODIES = [f'{{"text": "{number}"}}'.encode() for number in range(50)]


class FakeServer:
    """Answers at once unless configured otherwise, and keeps the bodies."""

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
                    time.sleep(self.stall_s)  # noqa: ASYNC251 - blocks the whole server
                if len(self.bodies) == self.cut_at:
                    return
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % self.status)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake, started, stop = FakeServer(), threading.Event(), threading.Event()

    async def serve() -> None:
        listener = await asyncio.start_server(fake.answer, "127.0.0.1", 0)
        fake.address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        started.set()
        await asyncio.to_thread(stop.wait)
        listener.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait()
    yield fake
    stop.set()
    thread.join()


def test_arrivals_form_a_poisson_process() -> None:
    due_s = arrivals([Phase(1000, 20), Phase(0, 1), Phase(100, 20)], np.random.default_rng(1))
    fast, slow = due_s[due_s < 20], due_s[due_s >= 20]
    assert len(fast) == pytest.approx(20_000, rel=0.05)
    assert len(slow) == pytest.approx(2000, rel=0.1)
    assert slow.min() >= 21
    gaps_s = np.diff(fast)
    assert gaps_s.min() >= 0
    assert gaps_s.std() == pytest.approx(gaps_s.mean(), rel=0.05)  # exponential distribution


def test_a_request_is_valid_http() -> None:
    assert encode_request("http://example.com:81", "/predict", b"{}", {"X-A": "1"}) == (
        b"POST /predict HTTP/1.1\r\nHost: example.com:81\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        b"X-A: 1\r\n\r\n{}"
    )


def test_each_request_is_sent_and_answered_once(server: FakeServer) -> None:
    sample = offer(server.address, BODIES, [Phase(200, 0.5)], processes=2)
    assert 50 < len(sample) < 170
    assert len(sample) == len(server.bodies) == len(sample.with_status(200))
    assert set(server.bodies) == set(BODIES)
    assert (np.diff(sample.due_s) >= 0).all()
    assert (sample.latency_ms >= sample.late_ms).all()
    assert (sample.late_ms >= 0).all()


def test_all_requests_due_during_a_stall_count_as_slow(server: FakeServer) -> None:
    server.stall_at, server.stall_s = 40, 0.5
    sample = offer(server.address, BODIES, [Phase(200, 1)])
    late = sample.latency_ms > 100
    assert late.sum() > 0.4 * 200 * 0.5  # a closed loop would see one
    assert sample.percentile(99) > 400


def test_refusals_and_closed_connections_are_distinguished(server: FakeServer) -> None:
    server.status, server.cut_at = 429, 5
    sample = offer(server.address, BODIES, [Phase(100, 0.3)])
    assert len(sample.with_status(429)) == len(sample) - 1
    assert len(sample.with_status(NOT_ANSWERED)) == 1


def test_right_answers_have_what_is_expected_of_them(server: FakeServer) -> None:
    expected = [b"ok" if number % 2 else b"other" for number in range(len(BODIES))]
    sample = offer(server.address, BODIES, [Phase(100, 0.5)], expected=expected)
    assert [round(each) for each in sample.right[:10]] == [0, 1] * 5
    assert offer(server.address, BODIES, [Phase(100, 0.1)]).right.all()


def test_a_closed_port_gives_unanswered_requests() -> None:
    sample = offer(f"http://127.0.0.1:{free_port()}", BODIES, [Phase(100, 0.2)])
    assert len(sample.with_status(NOT_ANSWERED)) == len(sample) > 0


def test_a_sample_can_be_filtered_by_time_status_and_deadline() -> None:
    columns = np.array([[0.1, 0, 5, 200, 1], [0.2, 0, 500, 200, 0], [0.3, 0, 1, 429, 0]]).T
    sample = Sample(*columns)
    assert len(sample.with_status(200).within(100)) == 1
    assert sample.with_status(200).right.mean() == 0.5
    assert len(sample.during(0.2, 0.3)) == 1
    assert sample.with_status(429).percentile(50) == 1
    assert np.isnan(sample.with_status(500).percentile(50))
