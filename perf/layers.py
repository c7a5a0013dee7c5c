"""`python -m perf.layers`: what the layers around the model cost, in microseconds of processor time a request.

The application is called as uvicorn calls it, without a socket: a plain ASGI function that reads and writes the same
JSON, a typed FastAPI route, and the service itself with an answer from its cache and with a refusal. They take turns;
medians are shown.
"""

import argparse
import asyncio
import json
import logging
import statistics
import time
from typing import Any

import orjson
import uvloop
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import logs
from app.admission import Wait
from app.api.body import ARRIVED
from app.api.schemas import PredictRequest, PredictResponse
from app.config import Settings
from app.main import create_app

_ANSWER: dict[str, Any] = {
    "label": "positive",
    "confidence": 0.9934,
    "scores": {"negative": 0.0021, "neutral": 0.0045, "positive": 0.9934},
    "truncated": False,
}
_BODY = json.dumps({"text": "The rooms are small but the staff could not have been kinder to us."}).encode()
_SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/predict",
    "raw_path": b"/predict",
    "query_string": b"",
    "root_path": "",
    "headers": [
        (b"host", b"127.0.0.1:8000"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(_BODY)).encode()),
    ],
    "client": ("127.0.0.1", 50000),
    "server": ("127.0.0.1", 8000),
}


async def plain(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - the shape of ASGI
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


async def call(app: ASGIApp) -> int:
    """Post the body; return the status."""
    asked = False
    status = 0

    async def receive() -> Message:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": _BODY, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(_SCOPE | {"headers": list(_SCOPE["headers"]), "state": {ARRIVED: True}}, receive, send)
    return status


async def _service(*, refusing: bool) -> FastAPI:
    app = create_app(Settings(backend="mock", cache_entries=0 if refusing else 100))
    context = app.router.lifespan_context(app)
    await context.__aenter__()  # for as long as the process lives
    while app.state.lifecycle.status != "ok":  # noqa: ASYNC110 - once
        await asyncio.sleep(0.01)
    if refusing:
        app.state.lifecycle.service._scheduler._wait = lambda *_: Wait(5000)  # noqa: SLF001 - full, for good
    return app


async def _measure(app: ASGIApp, requests: int, expected: int) -> float:
    async def ask(times: int) -> None:
        for _ in range(times):
            status = await call(app)
            assert status == expected, status

    await ask(200)
    begun_s = time.process_time()
    await ask(requests)
    return (time.process_time() - begun_s) / requests * 1e6


async def _compare(rounds: int, requests: int) -> None:
    subjects: dict[str, tuple[ASGIApp, int]] = {
        "a plain ASGI function": (plain, 200),
        "a typed FastAPI route": (typed(), 200),
        "an answer from the cache": (await _service(refusing=False), 200),
        "a refusal (429)": (await _service(refusing=True), 429),
    }
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, (app, expected) in subjects.items():
            found[name].append(await _measure(app, requests, expected))
    first = statistics.median(next(iter(found.values())))
    for name, each in found.items():
        print(f"{name:26}{statistics.median(each):8.1f} µs{statistics.median(each) / first:8.1f} x")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m perf.layers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=2000, help="a round")
    args = parser.parse_args()
    logs.configure("json", "info")  # a line a request, as it is served, into nothing
    logging.root.handlers[0].setStream(open("/dev/null", "w"))  # type: ignore[attr-defined]  # noqa: PTH123, SIM115

    uvloop.run(_compare(args.rounds, args.requests))


if __name__ == "__main__":
    main()
