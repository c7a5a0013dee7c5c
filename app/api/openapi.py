"""The OpenAPI document, including what FastAPI cannot see: the two routes that are plain ASGI endpoints."""

from typing import Any

from fastapi import APIRouter, FastAPI
from pydantic.json_schema import models_json_schema

from . import schemas

_REFERENCE = "#/components/schemas/{model}"
_WHEN = {
    400: "The body is not valid JSON.",
    401: "The server requires an API key and the request has none.",
    403: "The API key is not valid.",
    408: "The body did not arrive in time.",
    413: "The body, a text or the list exceeds its limit, or a text is too long and `truncate` is false.",
    415: "The content type is not `application/json`.",
    422: "The JSON does not match the schema; `errors` lists the invalid parts.",
    429: "The server is overloaded, or the client is over its rate limit. Wait for `Retry-After` seconds.",
    431: "The headers exceed their limit.",
    500: "The model failed on this text, or the server has a bug.",
    503: "The server is loading, draining or broken. Wait for `Retry-After` seconds.",
    504: "The deadline passed.",
}
_TIMEOUT = {
    "name": "X-Request-Timeout-Ms",
    "in": "header",
    "description": "Your deadline in milliseconds; it can only shorten the server's own. When it passes, the response "
    "is 504.",
    "schema": {"type": "integer", "minimum": 1},
}
_REQUEST_ID = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "Your id for the request: 1 to 128 visible ASCII characters. It appears in the response and in the "
    "log. If it is missing or invalid, the server creates one.",
    "schema": {"type": "string"},
}
_RESPONSE_HEADERS = {
    "X-Request-ID": {"schema": {"type": "string"}, "description": "The request's id."},
    "X-Cache": {
        "schema": {"enum": ["hit", "miss", "joined"]},
        "description": "`hit`: all texts came from the cache; `miss`: at least one was computed; "
        "`joined`: another request was already computing the same text.",
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
        "description": "The same API key, in its own header.",
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
        """Predict the sentiment of one text."""
        raise NotImplementedError

    @router.post("/predict/batch", **_documented(schemas.BatchRequest, schemas.BatchResponse))
    async def predict_batch() -> None:
        """Predict the sentiment of a list of texts. The list is accepted or refused as a whole."""
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
