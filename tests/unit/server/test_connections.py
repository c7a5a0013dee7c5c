"""The limit on open connections: which one is closed for a new one, and who is still answered."""

import contextlib
import resource
from collections.abc import AsyncIterator

import pytest

from app.server.connections import Connections, allow_connections
from tests.support.connection import GET, POST, Application, Connection, connected, pass_time, settle
from tests.support.waiting import async_until

HALF = POST + b"Content-Length: 5\r\n\r\nhe"
PREDICT = POST + b"Content-Length: 5\r\n\r\nhello"


class Opened:
    """Connections of one server to one application."""

    def __init__(self, stack: contextlib.AsyncExitStack, app: Application, limit: int) -> None:
        self.app = app
        self.all: list[Connection] = []
        self._stack = stack
        self._connections = Connections(limit)

    async def open(self, *sent: bytes) -> Connection:
        connection = await self._stack.enter_async_context(connected(self.app, connections=self._connections))
        self.all.append(connection)
        connection.receive(*sent)
        await settle()
        return connection

    @property
    def closed(self) -> list[int]:
        """The numbers of the connections that the server has closed, in the order in which they were opened."""
        return [number for number, connection in enumerate(self.all) if connection.transport.is_closing()]


@contextlib.asynccontextmanager
async def server(limit: int) -> AsyncIterator[Opened]:
    async with contextlib.AsyncExitStack() as stack:
        yield Opened(stack, Application(), limit)


@pytest.mark.parametrize("sent", [b"", b"GET /li", POST, HALF, GET], ids=["nothing", "line", "headers", "body", "idle"])
async def test_the_connection_that_has_waited_longest_is_closed(sent: bytes) -> None:
    async with server(limit=3) as opened:
        for _ in range(5):
            await opened.open(sent)
        assert opened.closed == [0, 1]
        new = await opened.open(PREDICT)
        assert new.transport.statuses == [200]
        assert opened.closed == [0, 1, 2]


async def test_a_request_that_is_incomplete_gets_503_and_may_be_repeated() -> None:
    for sent in (b"GET /li", HALF):
        async with server(limit=1) as opened:
            first = await opened.open(sent)
            await opened.open()
            assert first.transport.statuses == [503]
            assert first.problem["detail"] == "the server has too many connections"
            assert b"retry-after: 1\r\n" in first.transport.written
            assert opened.app.bodies == []


async def test_sending_slowly_does_not_make_a_connection_newer() -> None:
    async with server(limit=2) as opened:
        slow = await opened.open(b"P")
        await opened.open(b"P")
        slow.receive(*(bytes([byte]) for byte in b"OST /predict HTTP/1.1\r\nHos"))
        await opened.open()
        assert opened.closed == [0]


async def test_a_used_connection_is_newer_than_one_that_waits() -> None:
    async with server(limit=2) as opened:
        used = await opened.open(GET)
        await opened.open(GET)
        used.receive(GET)
        await settle()
        await opened.open()
        assert opened.closed == [1]


@pytest.mark.parametrize("behind", [b"", GET, b"GET /li"])
async def test_a_connection_whose_request_is_answered_stays(behind: bytes) -> None:
    async with server(limit=2) as opened:
        opened.app.open.clear()
        busy = await opened.open(PREDICT + behind)
        for _ in range(5):
            await opened.open(HALF)
        opened.app.open.set()
        await settle()
        assert not busy.transport.is_closing()
        assert busy.transport.statuses == [200] * (1 + (behind == GET))


async def test_a_body_behind_an_answered_request_waits_like_any_other() -> None:
    async with server(limit=2) as opened:
        await opened.open(PREDICT + HALF)
        await opened.open()
        await opened.open()
        assert opened.closed == [0]


async def test_a_client_that_does_not_read_is_closed_at_once() -> None:
    async with server(limit=2) as opened:
        opened.app.open.clear()
        deaf = await opened.open(PREDICT)
        deaf.protocol.pause_writing()
        await opened.open()
        await opened.open()
        assert opened.closed == [0]
        await async_until(lambda: deaf.transport.was_aborted)
        opened.app.open.set()


async def test_the_end_of_a_closed_connection_is_not_awaited_forever() -> None:
    async with server(limit=1) as opened:
        first = await opened.open(GET)
        await opened.open()
        assert not first.transport.was_aborted
        pass_time(2)
        await async_until(lambda: first.transport.was_aborted)


async def test_while_all_are_busy_only_probes_are_answered() -> None:
    async with server(limit=2) as opened:
        opened.app.open.clear()
        for _ in range(2):
            await opened.open(PREDICT)
        for path in (b"/livez", b"/readyz", b"/healthz?x", b"/prefix/livez"):
            probe = await opened.open(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            assert probe.transport.statuses == []
        other = await opened.open(PREDICT)
        assert other.transport.statuses == [503]
        opened.app.open.set()
        await settle()
        assert [connection.transport.statuses for connection in opened.all] == [[200]] * 6 + [[503]]
        assert opened.closed == [6]
        again = await opened.open(PREDICT)
        assert again.transport.statuses == [200]


async def test_connections_over_the_limit_are_few() -> None:
    async with server(limit=1) as opened:
        opened.app.open.clear()
        await opened.open(PREDICT)
        for _ in range(40):
            await opened.open()
        assert opened.closed == list(range(1, 9))
        opened.app.open.set()


async def test_closed_connections_make_room() -> None:
    async with server(limit=1) as opened:
        for _ in range(3):
            connection = await opened.open(GET)
            connection.protocol.connection_lost(None)
        assert await opened.open(GET)
        assert opened.closed == [0, 1, 2]
        assert [connection.transport.statuses for connection in opened.all] == [[200]] * 4


async def test_the_log_says_how_many_connections_were_closed(caplog: pytest.LogCaptureFixture) -> None:
    async with server(limit=2) as opened:
        for _ in range(100):
            await opened.open()
    lines = [vars(record)["fields"] for record in caplog.records if record.getMessage() == "too many connections"]
    assert lines == [{"open": 2, "closed": 1, "refused": 0}]  # at most one in ten seconds


@pytest.mark.parametrize(
    ("files", "maximum", "allowed", "raised"),
    [
        ((256, 4096), 1000, 1000, 3176),
        ((256, 1024), 1000, 896, 1024),
        ((256, 256), 1000, 128, 256),
        ((64, 64), 1000, 32, 64),
        ((9000, 9000), 1000, 1000, None),
        ((256, resource.RLIM_INFINITY), 1000, 1000, 3176),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 1000, 1000, None),
    ],
)
def test_open_files_are_allowed_as_far_as_the_system_does(
    files: tuple[int, int],
    maximum: int,
    allowed: int,
    raised: int | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: files)
    monkeypatch.setattr(resource, "setrlimit", lambda _which, both: limits.append(both))
    assert allow_connections(maximum) == allowed
    assert limits == ([(raised, files[1])] if raised else [])
    logged = "few open files allowed" in [record.getMessage() for record in caplog.records]
    assert logged == (allowed < maximum)
