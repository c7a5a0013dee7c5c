"""The short way on a connection without a socket: what is answered in which step, in which order, and how it ends."""

import asyncio
import gc
import json
import re
from collections.abc import AsyncIterator
from unittest.mock import Mock

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from app.api import context
from app.api.endpoint import One
from app.api.transport import Cork
from app.config import Settings
from app.main import create_app
from app.scheduling.admission import Wait
from app.server.protocol import Connection


class Wire:
    """A connection of a server in this process, without a socket."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.sent = b""
        self.transport = Mock(spec=asyncio.Transport, is_closing=Mock(return_value=False))
        self.transport.write.side_effect = self._write
        self.transport.close.side_effect = self._close
        self.transport.get_extra_info.side_effect = {"peername": ("192.0.2.1", 1), "sockname": ("192.0.2.2", 2)}.get
        connection.connection_made(self.transport)

    def _write(self, data: bytes) -> None:
        self.sent += data

    def _close(self) -> None:
        self.transport.is_closing.return_value = True
        asyncio.get_running_loop().call_soon(self.lose)

    def lose(self) -> None:
        """The connection is lost, however that came; once."""
        if self.connection in self.connection.connections:
            self.connection.connection_lost(None)

    async def end(self) -> None:
        """Wait until nothing is under way any more."""
        async with asyncio.timeout(10):
            while self.connection.tasks:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)

    @property
    def statuses(self) -> list[bytes]:
        return re.findall(rb"HTTP/1\.1 (\d{3}) ", self.sent)

    async def answers(self, count: int) -> list[bytes]:
        """The statuses of all answers, as soon as there are so many."""
        async with asyncio.timeout(10):
            while len(self.statuses) < count:  # noqa: ASYNC110 - a server is not one to wait with
                await asyncio.sleep(0.001)
        return self.statuses


class Passed(list[str]):
    """Paths of requests that went the long way."""


@pytest.fixture
async def app() -> AsyncIterator[FastAPI]:
    app = create_app(Settings(backend="mock", mock_delay_ms=20))
    async with app.router.lifespan_context(app):
        while app.state.lifecycle.status != "ok":  # noqa: ASYNC110 - once
            await asyncio.sleep(0.01)
        yield app


@pytest.fixture
async def wire(app: FastAPI) -> AsyncIterator[tuple[Wire, Passed]]:
    passed = Passed()

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope["path"])
        await app(scope, receive, send)

    config = uvicorn.Config(counting, log_config=None, access_log=False, ws="none")
    config.load()
    connection = Connection(
        config,
        ServerState(),
        {},
        header_timeout_s=1,
        max_header_bytes=4096,
        on_unreadable=lambda _: None,
        express=app.state.express,
        cork=Cork(),
    )
    found = Wire(connection)
    yield found, passed
    found.lose()
    await found.end()


def request(text: str = "good", path: str = "/predict", head: str = "", *, version: str = "1.1") -> bytes:
    body = json.dumps({"text": text}).encode()
    lines = f"POST {path} HTTP/{version}\r\nHost: a\r\nContent-Type: application/json\r\n{head}"
    return f"{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def test_a_known_text_is_answered_in_the_step_in_which_it_comes(wire: tuple[Wire, Passed]) -> None:
    one, passed = wire
    one.connection.data_received(request())
    assert not one.connection.cycle.response_complete
    assert await one.answers(1) == [b"200"]
    one.connection.data_received(request())
    assert one.connection.cycle.response_complete
    assert await one.answers(2) == [b"200"] * 2
    assert b"x-cache: hit" in one.sent
    assert passed == []


async def test_a_body_that_follows_its_headers_is_waited_for(wire: tuple[Wire, Passed]) -> None:
    one, passed = wire
    head, _, body = request().partition(b"\r\n\r\n")
    one.connection.data_received(head + b"\r\n\r\n")
    await asyncio.sleep(0.01)
    for byte in body:
        one.connection.data_received(bytes([byte]))
    assert await one.answers(1) == [b"200"]
    assert passed == []


@pytest.mark.parametrize(
    "sent",
    [
        request(head="Origin: https://a.example\r\n"),
        request(path="/predict?a=b"),
        request(version="1.0"),
        request(head="Expect: 100-continue\r\n"),
        request("long" * 20_000),
    ],
)
async def test_what_is_not_usual_goes_the_long_way(wire: tuple[Wire, Passed], sent: bytes) -> None:
    one, passed = wire
    one.connection.data_received(sent)
    await one.answers(1)
    assert passed == ["/predict"]


async def test_a_body_that_is_long_in_coming_goes_the_long_way(wire: tuple[Wire, Passed]) -> None:
    one, passed = wire
    sent = request()
    one.connection.data_received(sent[:-5])
    async with asyncio.timeout(10):
        while not passed:  # noqa: ASYNC110 - until it is let go
            await asyncio.sleep(0.01)
    one.connection.data_received(sent[-5:])
    assert await one.answers(1) == [b"200"]
    assert passed == ["/predict"]


async def test_requests_that_come_together_are_answered_in_their_order(wire: tuple[Wire, Passed]) -> None:
    one, _ = wire
    texts = ["good", "good", "bad and new", "good", ""]
    one.connection.data_received(request())
    await one.answers(1)
    one.connection.data_received(b"".join(map(request, texts)))
    assert await one.answers(6) == [b"200"] * 5 + [b"422"]
    labels = [json.loads(part.partition(b"\r\n\r\n")[2])["label"] for part in one.sent.split(b"HTTP/1.1 ")[1:-1]]
    assert labels == ["positive"] * 3 + ["negative", "positive"]


async def test_nothing_is_answered_behind_the_end_of_a_connection(wire: tuple[Wire, Passed]) -> None:
    one, passed = wire
    one.connection.data_received(request())
    await one.answers(1)
    one.connection.data_received(request(head="Connection: close\r\n") + request() + request(path="/predict?x=y"))
    await asyncio.sleep(0.05)
    assert one.statuses == [b"200"] * 2
    assert b"connection: close" in one.sent
    assert passed == []


async def test_while_one_waits_for_its_answer_the_connection_is_not_idle(wire: tuple[Wire, Passed]) -> None:
    one, _ = wire
    one.connection.data_received(request())
    await one.answers(1)
    one.connection.data_received(request() + request("unheard of"))
    assert one.connection.timeout_keep_alive_task is None
    await one.answers(3)
    assert one.connection.timeout_keep_alive_task is not None


def statuses(caplog: pytest.LogCaptureFixture) -> list[int]:
    """Of the access lines."""
    lines = [record.fields for record in caplog.records if hasattr(record, "fields")]
    return [fields["status"] for fields in lines if "status" in fields]


@pytest.mark.parametrize("steps", [0, 1, 3])
async def test_who_leaves_is_not_waited_for(
    steps: int, wire: tuple[Wire, Passed], caplog: pytest.LogCaptureFixture
) -> None:
    one, _ = wire
    caplog.set_level("INFO")
    one.connection.data_received(request("never heard") + request("nor this"))
    for _ in range(steps):
        await asyncio.sleep(0)
    one.lose()
    await one.end()
    assert statuses(caplog) == [499]
    assert one.sent == b""


async def test_who_leaves_before_all_has_come_is_told_of(
    wire: tuple[Wire, Passed], caplog: pytest.LogCaptureFixture
) -> None:
    one, passed = wire
    caplog.set_level("INFO")
    one.connection.data_received(request()[:-5])
    one.lose()
    await one.end()
    assert passed == ["/predict"]
    assert statuses(caplog) == [499]


async def test_a_connection_that_is_over_leaves_nothing_behind(wire: tuple[Wire, Passed]) -> None:
    one, _ = wire
    one.connection.data_received(request())
    await one.answers(1)
    exchange = one.connection.cycle
    one.lose()
    await one.end()
    assert one.connection not in gc.get_referrers(exchange)
    assert one.connection.cycle is None


async def test_both_ways_refuse_alike_when_full(
    app: FastAPI, wire: tuple[Wire, Passed], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, passed = wire
    monkeypatch.setattr(app.state.lifecycle.service._scheduler, "_wait", lambda *_: Wait(5000))
    one.connection.data_received(request("never heard"))
    assert await one.answers(1) == [b"429"]
    assert one.connection.cycle.response_complete
    one.connection.data_received(request("never heard", head="Origin: https://a.example\r\n"))
    assert await one.answers(2) == [b"429"] * 2
    assert one.sent.count(b"retry-after: 5\r\n") == 2
    assert passed == ["/predict"]


@pytest.mark.parametrize("head", ["", "Origin: https://a.example\r\n"])
async def test_both_ways_turn_away_alike_at_the_end(app: FastAPI, wire: tuple[Wire, Passed], head: str) -> None:
    one, _ = wire
    app.state.lifecycle.drain()
    one.connection.data_received(request(head=head))
    assert await one.answers(1) == [b"503"]
    assert b"connection: close" in one.sent
    one.transport.close.assert_called()


@pytest.mark.parametrize("head", ["", "Origin: https://a.example\r\n"])
async def test_both_ways_keep_the_time_of_a_request(wire: tuple[Wire, Passed], head: str) -> None:
    one, _ = wire
    one.connection.data_received(request("never heard", head=f"X-Request-Timeout-Ms: 5\r\n{head}"))
    assert await one.answers(1) == [b"504"]


async def test_of_many_that_come_together_one_is_answered_in_a_step(wire: tuple[Wire, Passed]) -> None:
    """Whoever sends thousands in one piece would keep the event loop from everybody else."""
    one, passed = wire
    one.connection.data_received(request())
    await one.answers(1)
    one.connection.data_received(request() * 50)
    await asyncio.sleep(0)
    assert len(one.statuses) < 5
    one.transport.pause_reading.assert_called()
    assert await one.answers(51) == [b"200"] * 51
    assert len(passed) == 49


async def test_few_requests_wait_on_one_connection(wire: tuple[Wire, Passed]) -> None:
    one, _ = wire
    one.connection.data_received(request("never heard") + b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
    assert len(one.connection.pipeline) == 100
    one.transport.resume_reading.reset_mock()
    async with asyncio.timeout(10):
        while one.connection in one.connection.connections:
            assert not one.transport.resume_reading.called or not one.connection.pipeline
            await asyncio.sleep(0)
    assert one.statuses == [b"200"] * 101
    assert one.sent.count(b"connection: close") == 1


@pytest.mark.parametrize("way", ["", "Origin: https://a.example\r\n"])
@pytest.mark.parametrize("known", [True, False])
async def test_what_lies_around_a_body_has_a_limit(wire: tuple[Wire, Passed], way: str, known: bool) -> None:
    one, _ = wire
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{way}"
    one.connection.data_received(
        f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + b'10\r\n{"text": "good"}\r\n0\r\n'
    )
    await asyncio.sleep(0.1 if known else 0)
    for _ in range(5):
        one.connection.data_received(b"X: " + b"y" * 1000 + b"\r\n")
    await asyncio.sleep(0)
    assert one.transport.pause_reading.called or one.statuses == [b"431"]


async def test_fields_behind_a_body_are_no_headers(wire: tuple[Wire, Passed]) -> None:
    one, _ = wire
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    one.connection.data_received(head + b'10\r\n{"text": "good"}\r\n0\r\nX-Request-ID: from-behind\r\n\r\n')
    assert await one.answers(1) == [b"200"]
    assert b"from-behind" not in one.sent


@pytest.mark.parametrize("known", [True, False])
async def test_what_fails_after_an_answer_keeps_nobody_waiting(
    app: FastAPI, wire: tuple[Wire, Passed], known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = wire
    if known:
        one.connection.data_received(request())
        await one.answers(1)
    monkeypatch.setattr(app.state.express, "observer", Mock(answered=Mock(side_effect=OSError("no space"))))
    one.connection.data_received(request() + request(path="/predict?a=b"))
    assert await one.answers(2 + known) == [b"200"] * (2 + known)


async def test_the_end_of_the_server_waits_for_what_is_under_way(wire: tuple[Wire, Passed]) -> None:
    one, _ = wire
    one.connection.data_received(request("never heard"))
    one.connection.shutdown()
    assert await one.answers(1) == [b"200"]
    assert b"connection: close" in one.sent
    one.transport.close.assert_called()


async def test_the_end_of_the_server_waits_for_a_body_that_comes(wire: tuple[Wire, Passed]) -> None:
    one, passed = wire
    one.connection.data_received(request()[:-5])
    one.connection.shutdown()
    one.connection.data_received(request()[-5:])
    assert await one.answers(1) == [b"200"]
    assert passed == ["/predict"]
    one.transport.close.assert_called()


@pytest.mark.parametrize("steps", [0, 1, 3])
async def test_what_the_end_cuts_short_is_answered_503(steps: int, wire: tuple[Wire, Passed]) -> None:
    one, _ = wire
    one.connection.data_received(request("never heard"))
    for _ in range(steps):
        await asyncio.sleep(0)
    for task in one.connection.tasks:
        task.cancel()
    assert await one.answers(1) == [b"503"]
    assert b"retry-after: 1" in one.sent
    one.transport.close.assert_called()


async def test_broken_http_within_a_body_is_answered_at_once(wire: tuple[Wire, Passed]) -> None:
    one, passed = wire
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    one.connection.data_received(head + b"broken")
    assert await one.answers(1) == [b"400"]
    assert passed == []


class Panic(BaseException):
    """As libraries written in Rust raise it."""


@pytest.mark.parametrize("error", [ZeroDivisionError, Panic])
@pytest.mark.parametrize("when", ["at_once", "answer"])
async def test_what_nobody_expects_is_answered_500_and_its_words_stay_inside(
    wire: tuple[Wire, Passed],
    when: str,
    error: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, _ = wire
    monkeypatch.setattr(One, when, Mock(side_effect=error("internal words")))
    one.connection.data_received(request("never heard") + request(path="/livez"))
    assert await one.answers(2) == [b"500", b"405"]
    assert "unexpected error" in caplog.text
    assert "internal words" not in caplog.text + one.sent.decode()


async def test_a_client_that_reads_nothing_is_not_written_to_without_end(wire: tuple[Wire, Passed]) -> None:
    one, passed = wire
    one.connection.data_received(request())
    await one.answers(1)
    one.connection.pause_writing()
    one.connection.data_received(request())
    await asyncio.sleep(0.05)
    assert one.statuses == [b"200"]
    one.connection.resume_writing()
    assert await one.answers(2) == [b"200"] * 2
    assert passed == ["/predict"]


def test_a_request_that_begins_again_keeps_its_id_and_no_address_that_is_none() -> None:
    """As one does whose body is long in coming, with proxies that are trusted whoever they are."""
    scope: Scope = {"headers": [], "client": ("192.0.2.1", 1)}
    context.begin(scope)
    begun = dict(scope["state"])
    scope["client"] = ("what somebody wrote", 0)
    context.begin(scope)
    assert scope["state"] == begun
    assert scope["client"] is None
