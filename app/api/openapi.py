"""The OpenAPI document, including what FastAPI cannot see: the two routes that are plain ASGI endpoints."""

from typing import Any

from fastapi import APIRouter, FastAPI
from pydantic.json_schema import models_json_schema

from . import schemas

_REFERENCE = "#/components/schemas/{model}"
_WHEN = {
    400: "The body is not JSON.",
    401: "API keys are on and the request has none.",
    403: "API keys are on and this one is not valid.",
    408: "The body did not arrive in time.",
    413: "The body, a text or the list is over its limit, or a text too long while `truncate` is false.",
    415: "The content type is not `application/json`.",
    422: "The JSON does not fit the schema; `errors` lists what is wrong.",
    429: "Overloaded; `Retry-After` says after how many seconds to try again.",
    431: "The headers are over their limit.",
    500: "A bug, or the model failed.",
    503: "Loading, draining or broken; `Retry-After` says after how many seconds to try again.",
    504: "The deadline passed.",
}
_TIMEOUT = {
    "name": "X-Request-Timeout-Ms",
    "in": "header",
    "description": "A deadline in milliseconds, lower than the server's own. Past it the answer is 504.",
    "schema": {"type": "integer", "minimum": 1},
}
_REQUEST_ID = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "1 to 128 visible ASCII characters. The response and every log line have it. The server replaces "
    "anything else by an id of its own.",
    "schema": {"type": "string"},
}
_RESPONSE_HEADERS = {
    "X-Request-ID": {"schema": {"type": "string"}, "description": "The request's id."},
    "X-Cache": {
        "schema": {"enum": ["hit", "miss", "joined"]},
        "description": "Whether the prediction came from the cache, was computed, or was shared.",
    },
    "Server-Timing": {
        "schema": {"type": "string"},
        "description": "Milliseconds: `tokenize;dur=…, queue;dur=…, infer;dur=…, total;dur=…`.",
    },
}
_SECURITY = {
    "Bearer": {"type": "http", "scheme": "bearer", "description": "An API key, if the server requires one."},
    "Key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key in a header of its own.",
    },
}
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Whole seconds."}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe error responses."""
    content = {"application/problem+json": {"schema": {"$ref": _REFERENCE.format(model="Problem")}}}
    described: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        described[status] = {"description": _WHEN[status], "content": content}
        if status in (429, 503):
            described[status]["headers"] = _RETRY_AFTER
    return described


def _documented(body: type[schemas.Options], response: type[Any]) -> dict[str, Any]:
    """Return the keyword arguments that describe a prediction route."""
    schema = {"$ref": _REFERENCE.format(model=body.__name__)}
    return {
        "tags": ["predict"],
        "response_model": response,
        "responses": {200: {"headers": _RESPONSE_HEADERS}} | problems(*_WHEN),
        "openapi_extra": {
            "parameters": [_TIMEOUT, _REQUEST_ID],
            "security": [{}, *({name: []} for name in _SECURITY)],  # {}: none while keys are off
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        },
    }


def prediction_routes() -> APIRouter:
    """Return routes that only document: `Middleware` sends their requests to the endpoints in `predict.py`."""
    router = APIRouter()

    @router.post("/predict", **_documented(schemas.PredictRequest, schemas.PredictResponse))
    async def predict() -> None:
        """The sentiment of one text."""
        raise NotImplementedError

    @router.post("/predict/batch", **_documented(schemas.BatchRequest, schemas.BatchResponse))
    async def predict_batch() -> None:
        """The sentiments of several texts, in their order. The list is admitted whole or refused whole."""
        raise NotImplementedError

    return router


def install_openapi(app: FastAPI) -> None:
    """Add the schemas that no route mentions by type to the OpenAPI document of `app`."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            models = [(schemas.PredictRequest, "validation"), (schemas.BatchRequest, "validation")]
            models.append((schemas.Problem, "validation"))
            _, definitions = models_json_schema(models, ref_template=_REFERENCE)  # type: ignore[arg-type]
            document["components"]["schemas"] |= definitions["$defs"]
            document["components"]["securitySchemes"] = _SECURITY
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
