"""The short way and FastAPI's: the same answers, the same lines, and who takes which."""

import asyncio
import contextlib
import http.client
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from app.api.connection import Connection
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


@pytest.fixture(scope="module")
def guarded(key: tuple[Path, str]) -> Iterator[Server]:
    """A server with keys, hosts and a rate, and texts that are not long before they are too long."""
    limits = {"rate_limit": "1000/hour", "max_text_chars": "40", "max_batch_texts": "3", "max_header_bytes": "1024"}
    hosts = "api.example,127.0.0.1"
    with serve(backend="mock", api_keys_file=str(key[0]), allowed_hosts=hosts, **limits) as running:
        yield running


def ask(server: Server, path: str, body: Any, headers: dict[str, str]) -> tuple[int, dict[str, str], Any]:
    """Status, headers and content of an answer, as they come over the wire."""
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=30)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", path, content, JSON | headers)
    response = connection.getresponse()
    found = json.loads(response.read())
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, found


def both(server: Server, path: str, body: Any, headers: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What can be seen of a request by the short way, and by the long one."""
    seen = []
    for way in ({}, LONG_WAY):
        series = 'http_requests_total{handler="%s",method="POST",status="%d"}'
        status, given, found = ask(server, path, body, headers | way)
        before = server.metric(series % (path, status))
        status, given, found = ask(server, path, body, headers | way)
        counted = server.metric(series % (path, status)) - before
        line = server.wait_for("request", request_id=given["x-request-id"])
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
        ("/predict", GOOD, {"Content-Type": "text/plain"}, 415),
        ("/predict", GOOD, {"Content-Encoding": "gzip"}, 415),
        ("/predict", GOOD, {"Connection": "close"}, 200),
        ("/predict", {"text": ""}, {}, 422),
        ("/predict", {"text": " \u200b"}, {}, 422),
        ("/predict", {"text": 1}, {}, 422),
        ("/predict", {}, {}, 422),
        ("/predict", GOOD | {"more": 1}, {}, 422),
        ("/predict", b'{"text', {}, 400),
        ("/predict", b"", {}, 400),
        ("/predict", {"text": "x" * 10_001}, {}, 413),
        ("/predict", b" " * 200_000, {}, 413),
        ("/predict", {"text": "bad [fail]"}, {}, 500),
        ("/predict/batch", {"texts": ["good", "bad", "good"]}, {}, 200),
        ("/predict/batch", {"texts": ["good", " "]}, {}, 422),
        ("/predict/batch", {"texts": []}, {}, 422),
        ("/predict/batch", {"texts": ["a"] * 257}, {}, 413),
    ],
)
def test_both_ways_answer_alike(
    mock_server: Server, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    short, long = both(mock_server, path, body, headers)
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
    assert bool(short["limits"]) == (status in (200, 413))


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
async def wire() -> AsyncIterator[tuple[Wire, Passed]]:
    app = create_app(Settings(backend="mock", mock_delay_ms=20))
    passed = Passed()

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope["path"])
        await app(scope, receive, send)

    config = uvicorn.Config(counting, log_config=None, access_log=False, ws="none")
    config.load()
    async with app.router.lifespan_context(app):
        while app.state.lifecycle.status != "ok":  # noqa: ASYNC110 - once
            await asyncio.sleep(0.01)
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
        connection.connection_lost(None)
        while connection.tasks:  # noqa: ASYNC110 - what is left of it
            await asyncio.sleep(0.01)


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
        request(head="Upgrade: h2c\r\nConnection: Upgrade\r\n"),
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


async def test_who_leaves_is_not_waited_for(wire: tuple[Wire, Passed], caplog: pytest.LogCaptureFixture) -> None:
    one, _ = wire
    caplog.set_level("INFO")
    one.connection.data_received(request("never heard"))
    await asyncio.sleep(0)
    one.connection.connection_lost(None)
    while one.connection.tasks:  # noqa: ASYNC110 - until it has seen that
        await asyncio.sleep(0)
    assert [record.fields["status"] for record in caplog.records if hasattr(record, "fields")] == [499]
    assert one.sent == b""


async def test_who_leaves_before_all_has_come_is_told_of(
    wire: tuple[Wire, Passed], caplog: pytest.LogCaptureFixture
) -> None:
    one, passed = wire
    caplog.set_level("INFO")
    one.connection.data_received(request()[:-5])
    one.connection.connection_lost(None)
    while one.connection.tasks:  # noqa: ASYNC110 - until it has seen that
        await asyncio.sleep(0)
    assert passed == ["/predict"]
    assert [record.fields["status"] for record in caplog.records if hasattr(record, "fields")] == [499]


async def test_the_end_of_the_server_waits_for_what_is_under_way(wire: tuple[Wire, Passed]) -> None:
    one, _ = wire
    one.connection.data_received(request("never heard"))
    one.connection.shutdown()
    assert await one.answers(1) == [b"200"]
    assert b"connection: close" in one.sent
    one.transport.close.assert_called_once()


async def test_the_end_of_the_server_waits_for_a_body_that_comes(wire: tuple[Wire, Passed]) -> None:
    one, passed = wire
    one.connection.data_received(request()[:-5])
    one.connection.shutdown()
    one.connection.data_received(request()[-5:])
    assert await one.answers(1) == [b"200"]
    assert passed == ["/predict"]
    one.transport.close.assert_called_once()


async def test_what_the_end_cuts_short_is_answered_503(wire: tuple[Wire, Passed]) -> None:
    one, _ = wire
    one.connection.data_received(request("never heard"))
    await asyncio.sleep(0)
    for task in one.connection.tasks:
        task.cancel()
    assert await one.answers(1) == [b"503"]
    assert b"retry-after: 1" in one.sent
    one.transport.close.assert_called_once()


async def test_broken_http_within_a_body_is_answered_at_once(wire: tuple[Wire, Passed]) -> None:
    one, passed = wire
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    one.connection.data_received(head + b"broken")
    assert await one.answers(1) == [b"400"]
    assert passed == []


@pytest.mark.parametrize("when", ["at_once", "answer"])
async def test_what_nobody_expects_is_answered_500_and_its_words_stay_inside(
    wire: tuple[Wire, Passed], when: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, _ = wire
    fail = Mock(side_effect=ZeroDivisionError("internal words"))
    endpoint = one.connection._express.leads_to(b"POST", b"/predict")
    monkeypatch.setattr(endpoint, when, fail)
    one.connection.data_received(request("never heard"))
    assert await one.answers(1) == [b"500"]
    assert "unexpected error" in caplog.text
    assert "internal words" not in caplog.text + one.sent.decode()
    with contextlib.suppress(TimeoutError):
        await one.answers(1)


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
