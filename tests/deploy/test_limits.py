"""nginx's limits for an address and for bodies. Each test uses loopback addresses of its own."""

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.config import Settings
from nginx.process import free_port
from nginx.proxy import CONFIGURATION, Nginx, configure
from tests.support.process import ROOT, Server, serve
from tests.support.waiting import HANG_S, async_until

GET = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HEAD = b"POST /predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def replica() -> Iterator[Server]:
    with serve(backend="mock") as server:
        yield server


class Proxy:
    def __init__(self, port: int) -> None:
        self._port = port

    async def connect(self, address: str, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(address, 0))
        writer.write(sent)
        return reader, writer

    async def status(self, address: str, sent: bytes) -> int:
        reader, writer = await self.connect(address, sent)
        response = await asyncio.wait_for(reader.read(), HANG_S)
        writer.close()
        return check(response)


def check(response: bytes) -> int:
    status = int(response.split()[1])
    if status == 429:
        head, _, body = response.partition(b"\r\n\r\n")
        assert b"Content-Type: application/problem+json" in head
        assert b"Retry-After: 1" in head
        assert json.loads(body)["title"] == "Too Many Requests"
    return status


@contextlib.asynccontextmanager
async def proxy(folder: Path, replica: Server, *replaced: tuple[str, str]) -> AsyncIterator[Proxy]:
    """Start nginx, with parts of its configuration replaced."""
    port = free_port()
    configure(folder, "127.0.0.1", port, [int(replica.address.rpartition(":")[2])])
    text = (folder / "http.conf").read_text()
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    (folder / "http.conf").write_text(text)
    nginx = await Nginx.start(folder, quiet=True)
    try:
        yield Proxy(port)
    finally:
        await nginx.end()


@pytest.mark.parametrize(
    ("address", "head", "most"),
    [
        ("127.0.0.2", b"Content-Length: 90\r\n\r\n", 200),
        ("127.0.0.2", b"Content-Length: 200000\r\n\r\n", 8),
        ("127.0.0.2", b"Content-Length: 20000\r\n\r\n", 64),
        ("127.0.0.1", b"Content-Length: 100000\r\n\r\n", 48),
        ("127.0.0.1", b"Transfer-Encoding: chunked\r\n\r\n", 48),
        ("127.0.0.1", b"Content-Length: 20000\r\n\r\n", 512),
        ("127.0.0.1", b"Content-Length: 90\r\n\r\n", 600),
    ],
    ids=[
        "an address",
        "long bodies of an address",
        "its bodies in files",
        "long bodies",
        "without length",
        "bodies in files",
        "this machine",
    ],
)
async def test_held_bodies_are_limited(tmp_path: Path, replica: Server, address: str, head: bytes, most: int) -> None:
    async with proxy(tmp_path, replica) as nginx:
        refused: Counter[int] = Counter()
        held, tasks = [], []
        for _ in range(600):
            reader, writer = await nginx.connect(address, HEAD + head)
            held.append(writer)
            task = asyncio.create_task(reader.readuntil(b"}\n"))
            tasks.append(task)
            task.add_done_callback(lambda done: None if done.cancelled() else refused.update([check(done.result())]))
        await async_until(lambda: refused[429] >= 600 - most)
        assert await nginx.status("127.0.0.3", GET) == 200
        assert await nginx.status("127.0.0.3", HEAD + b"Content-Length: 16\r\n\r\n" + b'{"text": "good"}') == 200
        assert refused == Counter({429: 600 - most} if most < 600 else {})
        for task in tasks:
            task.cancel()
        for writer in held:
            writer.transport.abort()


async def test_requests_of_an_address_are_limited_and_those_of_others_are_not(tmp_path: Path, replica: Server) -> None:
    async with proxy(tmp_path, replica, ("rate=1000r/s", "rate=1r/m"), ("burst=1000", "burst=20")) as nginx:
        assert Counter([await nginx.status("127.0.0.2", GET) for _ in range(30)]) == {200: 21, 429: 9}
        assert {await nginx.status(address, GET) for address in ("127.0.0.1", "127.0.0.3") for _ in range(15)} == {200}


def test_the_folder_for_bodies_holds_all_that_are_let_in() -> None:
    text = (CONFIGURATION / "http.conf").read_text()
    (in_files,) = re.findall(r"^limit_conn bodies_in_files (\d+);", text, re.MULTILINE)
    (long,) = re.findall(r"^limit_conn long_bodies (\d+);", text, re.MULTILINE)
    (folder,) = re.findall(r"/run/nginx:\S+size=(\d+)m", (ROOT / "docker-compose.yml").read_text())
    longest = Settings.model_fields["max_body_bytes"].default
    assert int(long) * longest + int(in_files) * 100_000 <= int(folder) * 2**20
