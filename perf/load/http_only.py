"""Two servers without a model that show what HTTP alone costs: a plain ASGI function and a typed FastAPI route."""

import sys
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from app.api.schemas import PredictRequest, PredictResponse

_PREDICTION: dict[str, Any] = {
    "label": "positive",
    "confidence": 0.9934,
    "scores": {"negative": 0.0021, "neutral": 0.0045, "positive": 0.9934},
    "truncated": False,
}
PLAIN, TYPED = "plain ASGI", "typed FastAPI"
_APPS = {PLAIN: ("perf.load.http_only:plain",), TYPED: ("--factory", "perf.load.http_only:typed")}


def command(name: str) -> list[str]:
    """The command that starts one of the two servers; the port is to be appended."""
    return [sys.executable, "-m", "uvicorn", *_APPS[name], "--no-access-log", "--log-level", "warning", "--port"]


async def plain(_scope: Scope, receive: Receive, send: Send) -> None:
    """Parse the JSON of the request and send a fixed JSON response."""
    orjson.loads((await receive())["body"])
    body = orjson.dumps(_PREDICTION)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def typed() -> FastAPI:
    """The same as a FastAPI route with models for request and response, as in FastAPI's tutorial."""
    app = FastAPI()

    @app.post("/predict")
    async def predict(_request: PredictRequest) -> PredictResponse:
        return PredictResponse(**_PREDICTION)

    return app
