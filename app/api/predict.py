"""The routes that predict, as FastAPI has them."""

from typing import Any

from fastapi import APIRouter, Request, Response

from . import body, schemas
from .context import headers_of
from .disconnect import unless_disconnected
from .endpoint import Endpoint, Many, One
from .openapi import documented


def prediction_router(one: One, many: Many, *, body_timeout_s: float) -> APIRouter:
    """Return `POST /predict` and `POST /predict/batch`."""
    router = APIRouter()

    async def respond(endpoint: Endpoint[Any], request: Request) -> Response:
        body.check(headers_of(request.scope), endpoint.max_bytes)
        content = await body.read(request, endpoint.max_bytes, body_timeout_s)
        asked = endpoint.understand(request.scope, content)
        known = endpoint.at_once(asked)
        return await unless_disconnected(request, endpoint.answer(asked)) if known is None else known

    @router.post(one.path, **documented(schemas.PredictRequest, schemas.PredictResponse))
    async def predict(request: Request) -> Response:
        """The sentiment of one text."""
        return await respond(one, request)

    @router.post(many.path, **documented(schemas.BatchRequest, schemas.BatchResponse))
    async def predict_batch(request: Request) -> Response:
        """The sentiments of several texts, in their order. Admitted whole or refused whole."""
        return await respond(many, request)

    return router
