"""`python -m perf.profile.layers`: what the layers around the model cost, in microseconds of processor time a request.

Each is driven through a connection of uvicorn's as its event loop drives it, without a socket: a plain ASGI function
that reads and writes the same JSON, a typed FastAPI route, and the service: an answer from its cache by the short
way and by FastAPI's, and a refusal. They take turns; medians are shown.
"""

import argparse
import asyncio
import json
import logging
import statistics
import time
from typing import Any

import orjson
import uvicorn
import uvloop
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app import logs
from app.api.schemas import PredictRequest, PredictResponse
from app.api.transport import Cork
from app.config import Settings
from app.main import create_app
from app.scheduling.admission import Wait
from app.server.protocol import Connection

_ANSWER: dict[str, Any] = {
    "label": "positive",
    "confidence": 0.9934,
    "scores": {"negative": 0.0021, "neutral": 0.0045, "positive": 0.9934},
    "truncated": False,
}
_BODY = json.dumps({"text": "The rooms are small but the staff could not have been kinder to us."}).encode()


class Wire(asyncio.Transport):
    """A transport that leads nowhere, and knows how the last answer began."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 8000)})
        self.answers = 0
        self.last = b""

    def write(self, data: bytes) -> None:  # type: ignore[override]
        """Take an answer, or half of one."""
        if data.startswith(b"HTTP/"):
            self.last = data
        self.answers += data.endswith(b"}")

    def is_closing(self) -> bool:
        """Never."""
        return False

    def pause_reading(self) -> None:
        """Nothing is read here."""

    def resume_reading(self) -> None:
        """Nothing is read here."""


class Subject:
    """Something that answers requests."""

    def __init__(self, protocol: HttpToolsProtocol, status: int, headers: str = "") -> None:
        self._wire = Wire()
        self._protocol = protocol
        protocol.connection_made(self._wire)
        self._status = b"HTTP/1.1 %d " % status
        head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Type: application/json\r\n{headers}"
        self._request = f"{head}Content-Length: {len(_BODY)}\r\n\r\n".encode() + _BODY

    async def microseconds(self, requests: int) -> float:
        """Processor time of a request, from its bytes to those of its answer."""
        await self._ask(200)
        begun_s = time.process_time()
        await self._ask(requests)
        return (time.process_time() - begun_s) / requests * 1e6

    async def _ask(self, times: int) -> None:
        wire = self._wire
        for _ in range(times):
            expected = wire.answers + 1
            self._protocol.data_received(self._request)
            while wire.answers < expected:  # noqa: ASYNC110 - an event would be measured, too
                await asyncio.sleep(0)
            assert wire.last.startswith(self._status), wire.last


async def plain(_scope: Scope, receive: Receive, send: Send) -> None:
    """Parse and dump, and nothing else."""
    orjson.loads((await receive())["body"])
    body = orjson.dumps(_ANSWER)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def typed() -> FastAPI:
    """As the tutorial writes it."""
    app = FastAPI()

    @app.post("/predict")
    async def predict(_wanted: PredictRequest) -> PredictResponse:
        return PredictResponse(**_ANSWER)

    return app


def _config(app: ASGIApp) -> uvicorn.Config:
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none")  # type: ignore[arg-type]
    config.load()
    return config


async def _service(*, refusing: bool = False) -> Connection:
    app = create_app(Settings(backend="mock", cache_entries=0 if refusing else 100))
    context = app.router.lifespan_context(app)
    await context.__aenter__()  # for as long as the process lives
    while app.state.lifecycle.status != "ok":  # noqa: ASYNC110 - once
        await asyncio.sleep(0.01)
    if refusing:
        app.state.lifecycle.service._scheduler._wait = lambda *_: Wait(5000)  # noqa: SLF001 - full, for good
    ours = {"header_timeout_s": 10, "max_header_bytes": 32768, "on_unreadable": lambda _: None, "cork": Cork()}
    return Connection(_config(app), ServerState(), {}, express=app.state.express, **ours)


async def _compare(rounds: int, requests: int) -> None:
    subjects = {
        "a plain ASGI function": Subject(HttpToolsProtocol(_config(plain), ServerState(), {}), 200),
        "a typed FastAPI route": Subject(HttpToolsProtocol(_config(typed()), ServerState(), {}), 200),
        "an answer from the cache": Subject(await _service(), 200),
        "the same, by FastAPI's way": Subject(await _service(), 200, "Origin: http://a.example\r\n"),
        "a refusal (429)": Subject(await _service(refusing=True), 429),
    }
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, subject in subjects.items():
            found[name].append(await subject.microseconds(requests))
    first = statistics.median(next(iter(found.values())))
    for name, each in found.items():
        print(f"{name:28}{statistics.median(each):8.1f} µs{statistics.median(each) / first:8.1f} x")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m perf.profile.layers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=2000, help="a round")
    args = parser.parse_args()
    logs.configure("json", "info")  # a line a request, as it is served, into nothing
    logging.root.handlers[0].setStream(open("/dev/null", "w"))  # type: ignore[attr-defined]  # noqa: PTH123, SIM115

    uvloop.run(_compare(args.rounds, args.requests))


if __name__ == "__main__":
    main()
