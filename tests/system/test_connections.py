"""Too many connections to a real server: at its own limit, and at that of the system on open files."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.process import Server, serve
from tests.support.waiting import until

PARTS = [b"", b"POST /predict HTTP/1.1\r\nHost: a\r\n", b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"]
LOWERED = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (192, 192))\n"
# The server counts as if there were no limit on open files, so that the kernel refuses to accept.
BLIND = f"{LOWERED}import app.server.draining\napp.server.draining.allow_connections = lambda _maximum: 100_000\n"


@pytest.fixture(autouse=True)
def enough_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2000, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def files(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def is_live(server: Server) -> bool:
    try:
        return server.get("/livez").status_code == 200
    except httpx.HTTPError:  # so many arrived at once that the system had no files left to accept it
        return False


def flood(server: Server, count: int) -> contextlib.ExitStack:
    """Open connections, of which each waits for something."""
    with contextlib.ExitStack() as stack:
        for number in range(count):
            connection = stack.enter_context(server.connect())
            with contextlib.suppress(OSError):
                connection.sendall(PARTS[number % len(PARTS)])
        return stack.pop_all()


def test_everyone_is_answered_while_a_client_holds_all_connections() -> None:
    with serve(backend="mock", max_connections="50") as server:
        before = files(server)
        with flood(server, 200):
            until(lambda: files(server) <= before + 50)
            assert server.get("/livez").status_code == server.get("/readyz").status_code == 200
            assert server.post({"text": "good"}).status_code == 200
            assert server.wait_for("too many connections")["open"] == 50
        until(lambda: files(server) <= before)
        assert not server.events("unexpected error")


@pytest.mark.parametrize("prelude", [LOWERED, BLIND], ids=["counted", "not counted"])
def test_a_server_survives_a_lack_of_files(prelude: str) -> None:
    with serve(backend="mock", prelude=prelude) as server:
        before = files(server)
        with flood(server, 400):
            if prelude == LOWERED:
                until(lambda: is_live(server))
                assert server.get("/livez").status_code == 200
                assert server.post({"text": "good"}).status_code == 200
                assert server.wait_for("few open files allowed", files=192, connections=96)
                assert server.wait_for("too many connections")
        until(lambda: files(server) <= before)
        assert server.post({"text": "good"}).status_code == 200
        assert not server.events("unexpected error")
