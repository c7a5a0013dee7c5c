"""`python -m perf.profile.layers`: processor time per request of the layers around the model, in microseconds.

Requests go through uvicorn's protocol class, as its event loop calls it, but without a socket. Measured are a plain
ASGI function that reads and writes the same JSON, a typed FastAPI route, and the service: a cached response and
a refusal. They take turns, and the median of the rounds is printed.
"""

import argparse
import asyncio
import json
import logging
import statistics
import time

import uvicorn
import uvloop
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app import logs
from app.config import Settings
from app.main import create_app
from app.scheduling import Wait
from app.server.connections import Connections
from app.server.protocol import LimitedProtocol
from perf.load.http_only import plain, typed

_contexts: list[object] = []  # kept until the process ends, because garbage collection would close them
_BODY = json.dumps({"text": "The rooms are small but the staff could not have been kinder to us."}).encode()


class Wire(asyncio.Transport):
    """A transport without a socket that keeps the start of the last response."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 8000)})
        self.answers = 0
        self.last = b""

    def write(self, data: bytes) -> None:  # type: ignore[override]
        if data.startswith(b"HTTP/"):
            self.last = data
        self.answers += data.endswith(b"}")

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Subject:
    """A protocol instance with an application, driven with prepared requests."""

    def __init__(self, protocol: HttpToolsProtocol, status: int, headers: str = "") -> None:
        self._wire = Wire()
        self._protocol = protocol
        protocol.connection_made(self._wire)
        self._status = b"HTTP/1.1 %d " % status
        head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Type: application/json\r\n{headers}"
        self._request = f"{head}Content-Length: {len(_BODY)}\r\n\r\n".encode() + _BODY

    async def microseconds(self, requests: int) -> float:
        """Processor time from the bytes of a request to those of its response."""
        await self._ask(200)
        begun_s = time.process_time()
        await self._ask(requests)
        return (time.process_time() - begun_s) / requests * 1e6

    async def _ask(self, times: int) -> None:
        wire = self._wire
        for _ in range(times):
            expected = wire.answers + 1
            self._protocol.data_received(self._request)
            while wire.answers < expected:  # noqa: ASYNC110 - an event would add to the measured time
                await asyncio.sleep(0)
            assert wire.last.startswith(self._status), wire.last


def _config(app: ASGIApp) -> uvicorn.Config:
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none")  # type: ignore[arg-type]
    config.load()
    return config


async def _service(*, refusing: bool = False) -> LimitedProtocol:
    app = create_app(Settings(backend="mock", cache_entries=0 if refusing else 100))
    context = app.fastapi.router.lifespan_context(app.fastapi)
    _contexts.append(context)
    await context.__aenter__()
    while app.lifecycle.status != "ok":  # noqa: ASYNC110 - happens once
        await asyncio.sleep(0.01)
    if refusing:
        app.lifecycle.serving().service._scheduler._wait = lambda *_: Wait(5000)  # type: ignore[method-assign]  # noqa: SLF001
    limits = {"header_timeout_s": 10, "body_timeout_s": 10, "stream_idle_s": 10, "max_header_bytes": 32768}
    return LimitedProtocol(
        _config(app.asgi), ServerState(), {}, on_unreadable=print, connections=Connections(100), **limits
    )


async def _compare(rounds: int, requests: int) -> None:
    subjects = {
        "plain ASGI function": Subject(HttpToolsProtocol(_config(plain), ServerState(), {}), 200),
        "typed FastAPI route": Subject(HttpToolsProtocol(_config(typed()), ServerState(), {}), 200),
        "cached response": Subject(await _service(), 200),
        "refusal (429)": Subject(await _service(refusing=True), 429),
    }
    results: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, subject in subjects.items():
            results[name].append(await subject.microseconds(requests))
    first = statistics.median(next(iter(results.values())))
    for name, rounds_us in results.items():
        median_us = statistics.median(rounds_us)
        print(f"{name:28}{median_us:8.1f} µs{median_us / first:8.1f} x")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.profile.layers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=2000, help="requests per round")
    args = parser.parse_args()
    logs.configure("json", "info")  # one access line per request as in production, written to /dev/null
    logging.root.handlers[0].setStream(open("/dev/null", "w"))  # type: ignore[attr-defined]  # noqa: PTH123, SIM115

    uvloop.run(_compare(args.rounds, args.requests))


if __name__ == "__main__":
    main()
