"""The short way and FastAPI's: the same answers, the same lines, and who takes which."""

import asyncio
import gc
import http.client
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from app.admission import Wait
from app.api.connection import Connection
from app.api.endpoint import One
from app.api.transport import Cork
from app.config import Settings
from app.keys import add_key
from app.main import create_app
from tests.process import Server, serve

JSON = {"Content-Type": "application/json"}
LONG_WAY = {"Origin": "https://a.example"}  # without CORS it changes nothing else
OWN = {"date", "x-request-id", "server-timing", "content-length"}  # of each answer


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    return file, add_key(file, "web")


# Has a server tell who takes the short way.
TELLING = """
import logging
from app.api.exchange import Exchange
from app.logs import log
run = Exchange.run
def told(exchange, content):
    log(logging.INFO, "short way", request_id=exchange.scope["state"]["id"])
    run(exchange, content)
Exchange.run = told
"""


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    """A server as it comes."""
    with serve(backend="mock", prelude=TELLING) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(key: tuple[Path, str]) -> Iterator[Server]:
    """A server with keys, hosts and a rate, where little is too much."""
    limits = {"rate_limit": "1000/hour", "max_text_chars": "40", "max_body_bytes": "1024", "max_header_bytes": "1024"}
    hosts = "api.example,127.0.0.1"
    with serve(backend="mock", prelude=TELLING, api_keys_file=str(key[0]), allowed_hosts=hosts, **limits) as running:
        yield running


def ask(server: Server, path: str, body: Any, headers: dict[str, str]) -> tuple[int, dict[str, str], Any]:
    """Status, headers and content of an answer, as they come over the wire."""
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=30)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    chunked = "Transfer-Encoding" in headers
    connection.request("POST", path, iter([content]) if chunked else content, JSON | headers, encode_chunked=chunked)
    response = connection.getresponse()
    found = json.loads(response.read())
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, found


def told(server: Server, given: dict[str, str]) -> int:
    """How often a request of this id has taken the short way."""
    return [line["request_id"] for line in server.events("short way")].count(given["x-request-id"])


def lines_of(server: Server, given: dict[str, str], count: int) -> list[dict[str, Any]]:
    """The lines of requests of this id, as soon as there are so many."""
    for _ in range(1000):
        lines = [line for line in server.events("request") if line["request_id"] == given["x-request-id"]]
        if len(lines) >= count:
            return lines
        time.sleep(0.01)
    raise AssertionError(given)


def both(server: Server, path: str, body: Any, headers: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What can be seen of a request by the short way, and by the long one."""
    seen = []
    for number, way in enumerate(({}, LONG_WAY)):
        series = 'http_requests_total{handler="%s",method="POST",status="%d"}'
        status, given, _ = ask(server, path, body, headers | way)
        # Its line is the last that is done for a request, behind its answer.
        server.wait_for("request", request_id=given["x-request-id"])
        before = server.metric(series % (path, status)), told(server, given)
        status, given, found = ask(server, path, body, headers | way)
        again = given["x-request-id"] in headers.values()
        line = lines_of(server, given, 2 * number + 2 if again else 1)[-1]
        assert told(server, given) - (before[1] if again else 0) == (way == {})
        counted = server.metric(series % (path, status)) - before[0]
        assert found.pop("request_id", given["x-request-id"]) == given["x-request-id"]
        limits = {name for name in given if name.startswith("ratelimit-")}
        seen.append(
            {
                "status": status,
                "headers": {name: value for name, value in given.items() if name not in OWN | limits},
                "timings": [part.split(";")[0] for part in given.get("server-timing", "").split(", ")],
                "limits": limits,
                "content": found,
                "counted": counted,
                "line": {name: value for name, value in line.items() if name in ("method", "path", "key", "client")},
                "fields": list(line),
            }
        )
    return seen[0], seen[1]


GOOD = {"text": "good, they say"}


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/predict", GOOD, {}, 200),
        ("/predict", GOOD | {"top_k": 1, "truncate": False, "long_text": "window"}, {}, 200),
        ("/predict", {"text": "word " * 600}, {}, 200),
        ("/predict", {"text": "word " * 600, "truncate": False}, {}, 413),
        ("/predict", GOOD, {"X-Request-ID": "order-66/"}, 200),
        ("/predict", GOOD, {"X-Request-ID": "no id"}, 200),
        ("/predict", GOOD, {"X-Request-Timeout-Ms": "500"}, 200),
        ("/predict", GOOD, {"X-Request-Timeout-Ms": "soon"}, 422),
        ("/predict", GOOD, {"X-Forwarded-For": "203.0.113.5"}, 200),
        ("/predict", GOOD, {"X-Forwarded-For": "what somebody wrote"}, 200),
        ("/predict", GOOD, {"Content-Type": "application/json; charset=utf-8"}, 200),
        ("/predict", GOOD, {"Connection": "close"}, 200),
        ("/predict", GOOD, {"Transfer-Encoding": "chunked"}, 200),
        ("/predict", GOOD, {"Content-Length": "0" * 5000 + str(len(json.dumps(GOOD)))}, 200),
        ("/predict", {"text": ""}, {}, 422),
        ("/predict", {"text": " \u200b"}, {}, 422),
        ("/predict", {"text": 1}, {}, 422),
        ("/predict", {}, {}, 422),
        ("/predict", GOOD | {"more": 1}, {}, 422),
        ("/predict", b'{"text', {}, 400),
        ("/predict", b"", {}, 400),
        ("/predict", {"text": "x" * 10_001}, {}, 413),
        ("/predict", {"text": "bad [fail]"}, {}, 500),
        ("/predict/batch", {"texts": ["good", "bad", "good"]}, {}, 200),
        ("/predict/batch", {"texts": ["good", " "]}, {}, 422),
        ("/predict/batch", {"texts": []}, {}, 422),
        ("/predict/batch", {"texts": ["a"] * 257}, {}, 413),
    ],
)
def test_both_ways_answer_alike(plain: Server, path: str, body: Any, headers: dict[str, str], status: int) -> None:
    short, long = both(plain, path, body, headers)
    assert short == long
    assert (short["status"], short["counted"]) == (status, 1)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (GOOD, {}, 401),
        (GOOD, {"X-API-Key": "rts_wrong"}, 403),
        (GOOD, {"X-API-Key": "KEY"}, 200),
        (GOOD, {"Authorization": "Bearer KEY"}, 200),
        (GOOD, {"X-API-Key": "KEY", "Host": "evil.example"}, 400),
        (GOOD, {"X-API-Key": "KEY", "X-Much": "x" * 1024}, 431),
        ({"text": "x" * 41}, {"X-API-Key": "KEY"}, 413),
        (b" " * 2000, {"X-API-Key": "KEY", "Transfer-Encoding": "chunked"}, 413),
    ],
)
def test_both_ways_have_the_same_gates(
    guarded: Server, key: tuple[Path, str], body: Any, headers: dict[str, str], status: int
) -> None:
    headers = {name: value.replace("KEY", key[1]) for name, value in headers.items()}
    short, long = both(guarded, "/predict", body, headers)
    assert short == long
    assert short["status"] == status
    assert short["line"].get("key") == ("web" if status in (200, 413) else None)
    assert bool(short["limits"]) == (status == 200 or body == {"text": "x" * 41})


def test_both_ways_count_what_a_caller_asks_for() -> None:
    with serve(backend="mock", prelude=TELLING, rate_limit="4/hour") as server:
        assert both(server, "/predict", GOOD, {})[0]["status"] == 200
        short, long = both(server, "/predict", GOOD, {})
        assert short == long
        assert (short["status"], short["content"]["title"]) == (429, "Too Many Requests")
        assert short["limits"] == {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (GOOD, {"Content-Type": "text/plain"}, 415),
        (GOOD, {"Content-Encoding": "gzip"}, 415),
        (b" " * 200_000, {}, 413),
    ],
)
def test_what_the_headers_alone_are_refused_for_goes_the_long_way(
    plain: Server, body: Any, headers: dict[str, str], status: int
) -> None:
    found, given, _ = ask(plain, "/predict", body, headers)
    assert found == status
    assert not told(plain, given)


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
