"""Several replicas behind nginx on one machine, without containers: what `make replicas N=2` runs.

Each replica gets its share of the cores and, whenever it ends, a successor on the same port. SIGHUP restarts them one
after the other. SIGTERM or Ctrl-C ends nginx, then the replicas, each with the answers it owes; a second one ends them
all at once.
"""

import argparse
import asyncio
import contextlib
import http.client
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from app.cpu import usable_cores
from nginx.process import end, free_port, spawn
from nginx.proxy import Nginx, NginxError, configure, find

_READY_WITHIN_S = 120
_POLL_S = 0.05
_SETTLE_S = 1  # from ready to the next restart: a request that was refused just before still finds the other one
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
    try:
        asyncio.run(serve(arguments.host, arguments.port or free_port(), arguments.replicas))
    except (Failed, NginxError) as error:
        sys.exit(f"replicas: {error}")


async def serve(host: str, port: int, count: int) -> None:
    """Serve until told to end; raise `Failed` when that comes from elsewhere."""
    find()
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except (OSError, OverflowError) as error:
        raise Failed(f"cannot listen on {host}:{port}: {error}") from None
    replicas = [Replica(free_port(), slots=max(1, usable_cores() // count)) for _ in range(count)]
    stop, restart = _signals()
    with tempfile.TemporaryDirectory(prefix="rt-sentiment-") as prefix:
        nginx = None
        try:
            for replica in replicas:
                await replica.start()
            await asyncio.gather(*(_first(stop, replica.ready()) for replica in replicas))
            if stop.is_set():
                return
            nginx = await Nginx.start(configure(Path(prefix), host, port, [replica.port for replica in replicas]))
            say(f"ready: http://{host}:{port}", *(f"replica {replica.name}" for replica in replicas))
            say(f"kill -HUP {os.getpid()} restarts the replicas, one after the other")
            while not stop.is_set():
                await _first(stop, restart.wait(), _ended(nginx))
                restart.clear()
                await _first(stop, _restart(replicas), _ended(nginx))
        finally:
            if nginx is not None:
                await nginx.end()
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
        self._process = await spawn(command, env={"SENTIMENT_SLOTS": str(self._slots)} | os.environ)
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
                    if await asyncio.to_thread(_is_ready, self.port):
                        self._proven = True
                        return
                    await asyncio.sleep(_POLL_S)
        raise Failed(f"replica {self.name} did not get ready (exit status {process.returncode})")

    async def restart(self) -> None:
        """End it gracefully and return once its successor is ready; raise `Failed` when that doesn't get so."""
        old = self._process
        assert old is not None
        await end(old, signal.SIGTERM, patience_s=_READY_WITHIN_S)
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


async def _restart(replicas: Sequence[Replica]) -> None:
    """Restart one after the other; when one is not ready, the others go on serving as they are."""
    for replica in replicas:
        for other in replicas:
            if other is not replica and not await asyncio.to_thread(_is_ready, other.port):
                say(f"replica {other.name} is not ready; the others are left as they are")
                return
        say(f"restarting replica {replica.name}")
        try:
            await replica.restart()
        except Failed as error:
            say(f"{error}; the others are left as they are")
            return
        await asyncio.sleep(_SETTLE_S)
    say("all replicas have been restarted")


def say(*lines: str) -> None:
    """Tell the person who started it."""
    print("\n".join(f"replicas: {line}" for line in lines), file=sys.stderr, flush=True)


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    """What is set by a request to end, and by one to restart."""
    stop, restart = asyncio.Event(), asyncio.Event()

    def end_now_or_soon() -> None:
        if stop.is_set():
            os._exit(1)  # everything that was started follows
        stop.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, end_now_or_soon)
    loop.add_signal_handler(signal.SIGINT, end_now_or_soon)
    loop.add_signal_handler(signal.SIGHUP, restart.set)
    return stop, restart


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)  # urllib would ask a proxy
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


async def _ended(nginx: Nginx) -> None:
    raise Failed(f"nginx ended with {await nginx.ended()}")


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
