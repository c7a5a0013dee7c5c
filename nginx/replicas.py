"""Run several replicas of the service behind nginx on one machine, without containers: `make replicas N=2`.

Each replica has its own port and its share of the cores. One that ends or freezes is replaced. SIGHUP restarts the
replicas one after the other. SIGTERM or Ctrl-C ends nginx, then the replicas, once they have answered their requests; a
second one ends everything at once.
"""

import argparse
import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from app import logs
from app.config import Settings, SettingsError, load_settings
from app.cpu import usable_cores
from app.server.process import warn_if_open, work
from app.server.supervisor import Supervisor
from app.server.worker import Pipe
from nginx.process import free_port
from nginx.proxy import Nginx, NginxError, configure, find


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="replicas",
        description="Run replicas of the service behind nginx. SENTIMENT_* settings apply to each replica.",
    )
    parser.add_argument("--replicas", type=int, default=2, help="number of replicas (default: %(default)s)")
    parser.add_argument("--host", help="nginx's address [SENTIMENT_HOST]")
    parser.add_argument("--port", help="nginx's port [SENTIMENT_PORT]")
    args = parser.parse_args()
    if args.replicas < 1:
        parser.error("--replicas: at least 1")
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # each replica has its own metrics
    try:
        settings = read_settings({"host": args.host, "port": args.port})
        logs.configure(settings.log_format, settings.log_level)
        warn_if_open(settings)
        sys.exit(asyncio.run(serve(settings, settings.host, settings.port, args.replicas)))
    except (SettingsError, NginxError) as error:
        sys.exit(f"replicas: {error}")


def read_settings(flags: Mapping[str, str | None]) -> Settings:
    """Read the settings; raise `SettingsError` for those that replicas cannot follow, too."""
    settings = load_settings({name: value for name, value in flags.items() if value is not None})
    if settings.workers > 1:
        raise SettingsError("SENTIMENT_WORKERS: a replica is one process; set the number of replicas (--replicas, N=2)")
    if settings.tls_cert_file:
        raise SettingsError("SENTIMENT_TLS_CERT_FILE: nginx serves HTTPS here, see docs/deployment.md")
    return settings


async def serve(settings: Settings, host: str, port: int, count: int) -> int:
    """Serve until a signal; return the exit status. Port 0 is any free one. Raises `NginxError`."""
    find()
    try:
        port = port or free_port(host)
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except (OSError, OverflowError) as error:
        raise NginxError(f"cannot listen on {host}:{port}: {error}") from None
    ports = [free_port() for _ in range(count)]
    flags = {"host": "127.0.0.1", "workers": 1, "slots": settings.slots or max(1, usable_cores() // count)}
    targets = [partial(run_replica, flags | {"port": port}) for port in ports]
    with tempfile.TemporaryDirectory(prefix="rt-sentiment-") as prefix:
        async with Supervisor(targets, restart_on_sighup=True) as supervisor:
            if await supervisor.until(lambda: all(supervisor.ready)):
                nginx = await Nginx.start(configure(Path(prefix), host, port, ports))
                ended = asyncio.create_task(nginx.ended())
                ended.add_done_callback(lambda _: supervisor.stop())
                try:
                    say(f"ready: http://{host}:{port}")
                    for replica, worker in zip(ports, supervisor.workers, strict=True):
                        say(f"replica http://127.0.0.1:{replica} (process {worker.pid})")
                    if count > 1:  # a single one could not be replaced without a gap
                        say(f"kill -HUP {os.getpid()} restarts the replicas, one after the other")
                    await supervisor.stopping.wait()
                    if ended.done():
                        raise NginxError(f"nginx ended with {ended.result()}")
                finally:
                    await nginx.end()
            elif supervisor.failed:
                say("the replicas did not get ready")
    say("stopped")
    return int(supervisor.failed)


def run_replica(flags: Mapping[str, object], pipe: Pipe) -> None:
    """Serve as one replica. It reads the settings itself, because a restart may load newer code."""
    work(load_settings(flags), pipe)


def say(line: str) -> None:
    print(f"replicas: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
