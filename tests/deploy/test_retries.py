"""What nginx does when a replica breaks: another gets the request, but one request does not end all of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nginx.process import free_port
from nginx.proxy import Nginx, configure
from tests.support.waiting import HANG_S


class Replica:
    """A replica that follows a script: `kill` in a request breaks all its connections, and it listens no more."""

    def __init__(self) -> None:
        self.port = free_port()
        self.deaths = 0
        self.requests = 0
        self.status = "200 OK"
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def stop(self) -> None:
        self._server.close()
        self.close_connections()

    def close_connections(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body = await reader.readexactly(int((head.partition(b"content-length: ")[2] or b"0").split()[0]))
                self.requests += 1
                if b"kill" in body:
                    self.deaths += 1
                    self.stop()
                ends = b"connection: close\r\n" if b"\r\nconnection: close\r\n" in head else b""
                writer.write(b"HTTP/1.1 %b\r\n%bcontent-length: 2\r\n\r\n{}" % (self.status.encode(), ends))
                await writer.drain()
                if ends:
                    break
        writer.close()
        self._writers.discard(writer)


class Site:
    """nginx in front of replicas."""

    def __init__(self, address: tuple[str, int], replicas: list[Replica]) -> None:
        self._address = address
        self.replicas = replicas

    async def send(self, method: str = "POST", body: str = "good") -> int:
        """Send a request over a new connection, and return its status."""
        reader, writer = await asyncio.open_connection(*self._address)
        head = f"{method} /predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(f"{head}{body}".encode())
        response = await asyncio.wait_for(reader.read(), HANG_S)
        writer.close()
        return int(response.split()[1])

    async def warm(self) -> None:
        """Let nginx keep connections to all replicas."""
        await asyncio.gather(*(self.send() for _ in range(60)))


@contextlib.asynccontextmanager
async def site(folder: Path, count: int = 3) -> AsyncIterator[Site]:
    replicas = [Replica() for _ in range(count)]
    for replica in replicas:
        await replica.start()
    port = free_port()
    nginx = await Nginx.start(configure(folder, "127.0.0.1", port, [replica.port for replica in replicas]), quiet=True)
    try:
        yield Site(("127.0.0.1", port), replicas)
    finally:
        await nginx.end()
        for replica in replicas:
            replica.stop()


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "OPTIONS"])
async def test_a_request_that_kills_ends_at_most_two_replicas(tmp_path: Path, method: str) -> None:
    async with site(tmp_path, count=4) as behind:
        await behind.warm()  # nginx does not count attempts over connections that it has kept
        assert await behind.send(method, "kill") == (500 if method == "POST" else 503)
        assert sum(replica.deaths for replica in behind.replicas) == 2
        assert [await behind.send() for _ in range(8)] == [200] * 8


async def test_a_delete_that_a_replica_may_have_seen_is_not_repeated(tmp_path: Path) -> None:
    """The first one cancels a job, and the next one deletes it."""
    async with site(tmp_path) as behind:
        assert await behind.send("DELETE", "kill") == 500
        assert sum(replica.requests for replica in behind.replicas) == 1
        for replica in behind.replicas:
            replica.status = "503 Service Unavailable"  # perhaps Redis has done it, but has not said so
        assert await behind.send("DELETE") == 503
        assert sum(replica.requests for replica in behind.replicas) == 2


async def test_a_delete_is_answered_although_a_replica_refuses_it(tmp_path: Path) -> None:
    async with site(tmp_path) as behind:
        behind.replicas[0].stop()
        assert [await behind.send("DELETE") for _ in range(8)] == [200] * 8
        assert sum(replica.requests for replica in behind.replicas) == 8
        for replica in behind.replicas:
            replica.stop()
        assert await behind.send("DELETE") == 503


async def test_a_post_is_answered_although_all_but_one_refuse_it(tmp_path: Path) -> None:
    async with site(tmp_path, count=4) as behind:
        await behind.warm()
        for replica in behind.replicas[1:]:
            replica.stop()
        assert [await behind.send() for _ in range(8)] == [200] * 8
        behind.replicas[0].stop()
        assert await behind.send() == 503
        assert await behind.send("GET") == 503


async def test_kept_connections_that_a_replica_closes_lose_no_request(tmp_path: Path) -> None:
    async with site(tmp_path) as behind:
        for _ in range(5):
            await behind.warm()
            for replica in behind.replicas:
                replica.close_connections()
            assert [await behind.send(method) for method in ("POST", "GET") * 2] == [200] * 4


async def test_a_replica_that_leaves_is_left_out(tmp_path: Path) -> None:
    async with site(tmp_path, count=2) as behind:
        behind.replicas[0].status = "503 Service Unavailable"
        assert [await behind.send(method) for method in ("POST", "GET") * 5] == [200] * 10
        behind.replicas[1].status = "503 Service Unavailable"
        before = sum(replica.requests for replica in behind.replicas)
        assert [await behind.send(method) for method in ("POST", "GET")] == [503, 503]
        assert sum(replica.requests for replica in behind.replicas) - before == 4


async def test_errors_of_a_replica_are_not_retried(tmp_path: Path) -> None:
    async with site(tmp_path) as behind:
        for status in (400, 429, 500, 502, 504):
            for replica in behind.replicas:
                replica.status = f"{status} x"
            before = sum(replica.requests for replica in behind.replicas)
            assert [await behind.send(method) for method in ("POST", "GET")] == [status, status]
            assert sum(replica.requests for replica in behind.replicas) - before == 2


async def test_a_post_is_answered_although_one_refuses_it_and_another_is_loading(tmp_path: Path) -> None:
    async with site(tmp_path) as behind:
        await behind.warm()
        behind.replicas[0].stop()
        behind.replicas[1].status = "503 Service Unavailable"
        assert [await behind.send() for _ in range(30)] == [200] * 30
