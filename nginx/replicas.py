"""Several replicas behind nginx on one machine, without containers: what `make replicas N=2` runs.

Each replica gets its share of the cores and, whenever it ends, a successor on the same port. SIGHUP restarts them one
after the other. SIGTERM or Ctrl-C ends nginx, then the replicas, each with the answers it owes; a second one ends them
all at once.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from app.cpu import usable_cores
from nginx.process import free_port, say
from nginx.proxy import Nginx, NginxError, configure, find
from nginx.replica import Failed, Replica

_SETTLE_S = 1  # from ready to the next restart: a request that was refused just before still finds the other one


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


async def _restart(replicas: Sequence[Replica]) -> None:
    """Restart one after the other; when one is not ready, the others go on serving as they are."""
    for replica in replicas:
        for other in replicas:
            if other is not replica and not await other.is_ready():
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
