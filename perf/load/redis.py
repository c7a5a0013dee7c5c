"""A Redis of a benchmark, on a socket in a folder of its own."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local_jobs import redis_server


@contextmanager
def running_redis(*flags: str) -> Iterator[str]:
    """Start a Redis, and yield its URL."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "redis.sock"
        command = [redis_server(), "--dir", folder, "--unixsocket", str(socket), "--port", "0", "--save", "", *flags]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                while not socket.is_socket() and process.poll() is None:
                    time.sleep(0.01)
                yield f"unix://{socket}"
            finally:
                process.terminate()
