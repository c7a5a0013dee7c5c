"""Too many connections to a real server: at its own limit, and at that of the system on open files."""

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import Server, serve
from tests.support.waiting import until

PARTS = [b"", b"POST /predict HTTP/1.1\r\nHost: a\r\n", b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"]
LOWERED = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))\n"
# The server counts as if there were no limit on open files, so that the kernel refuses to accept.
BLIND = f"{LOWERED}import app.server.draining\napp.server.draining.allow_open_files = lambda _connections: 100_000\n"


@pytest.fixture(autouse=True)
def enough_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2000, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def files(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


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
                assert server.get("/livez").status_code == 200
                assert server.post({"text": "good"}).status_code == 200
                assert server.metric("process_open_fds") < 160
                assert server.wait_for("too many connections")
        until(lambda: files(server) <= before)
        assert server.post({"text": "good"}).status_code == 200
        assert not server.events("unexpected error")


def test_a_closed_connection_is_seen_as_closed_by_its_client() -> None:
    with serve(backend="mock", max_connections="1") as server, server.connect() as first:
        first.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert first.recv(65536).startswith(b"HTTP/1.1 200")
        assert server.get("/livez").status_code == 200
        first.settimeout(20)
        assert first.recv(1) == b""
        with pytest.raises(OSError, match=r"."), socket.create_connection(first.getpeername()):
            pass
