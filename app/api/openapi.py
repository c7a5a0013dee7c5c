"""What the OpenAPI document says beyond what FastAPI can see.

The two prediction routes read and write bytes, so that pydantic validates them in one step; here they are described as
if FastAPI had done it.
"""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from . import schemas

_REFERENCE = "#/components/schemas/{model}"
_WHAT = {
    400: "The body isn't JSON.",
    401: "API keys are on, and there is none.",
    403: "API keys are on, and this one is wrong.",
    408: "The body did not come in time.",
    413: "The body, a text or the list is over its limit, or a text is too long and `truncate` is false.",
    415: "The content type isn't `application/json`.",
    422: "The JSON doesn't fit; `errors` lists what is wrong.",
    429: "Overloaded; `Retry-After` has the seconds after which to come again.",
    431: "The headers are over their limit.",
    500: "A bug, or the model failed.",
    503: "Loading, draining or broken; `Retry-After` has the seconds after which to come again.",
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
    "description": "1 to 128 visible ASCII characters; comes back on the answer and stands in every log line. Anything "
    "else is replaced by an id of the server's.",
    "schema": {"type": "string"},
}
_ANSWER_HEADERS = {
    "X-Request-ID": {"schema": {"type": "string"}, "description": "The request's id."},
    "X-Cache": {"schema": {"enum": ["hit", "miss", "joined"]}, "description": "Whether the answer was computed."},
    "Server-Timing": {
        "schema": {"type": "string"},
        "description": "Milliseconds: `tokenize;dur=…, queue;dur=…, infer;dur=…, total;dur=…`.",
    },
}
_SECURITY = {
    "Bearer": {"type": "http", "scheme": "bearer", "description": "An API key, where the server asks for one."},
    "Key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same, in a header of its own."},
}
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Whole seconds."}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe error answers."""
    content = {"application/problem+json": {"schema": {"$ref": _REFERENCE.format(model="Problem")}}}
    described: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        described[status] = {"description": _WHAT[status], "content": content}
        if status in (429, 503):
            described[status]["headers"] = _RETRY_AFTER
    return described


def documented(body: type[schemas.Options], answer: type[Any]) -> dict[str, Any]:
    """Describe a prediction route, as keyword arguments of it."""
    schema = {"$ref": _REFERENCE.format(model=body.__name__)}
    return {
        "tags": ["predict"],
        "response_model": answer,
        "responses": {200: {"headers": _ANSWER_HEADERS}} | problems(*_WHAT),
        "openapi_extra": {
            "parameters": [_TIMEOUT, _REQUEST_ID],
            "security": [{}, *({name: []} for name in _SECURITY)],  # {}: where keys are off, none is needed
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        },
    }


def install(app: FastAPI) -> None:
    """Add the schemas that no route mentions by type to the document of `app`."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            wanted = [(schemas.PredictRequest, "validation"), (schemas.BatchRequest, "validation")]
            wanted.append((schemas.Problem, "validation"))
            _, found = models_json_schema(wanted, ref_template=_REFERENCE)  # type: ignore[arg-type]
            document["components"]["schemas"] |= found["$defs"]
            document["components"]["securitySchemes"] = _SECURITY
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
