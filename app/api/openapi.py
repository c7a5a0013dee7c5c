"""The OpenAPI document, including what FastAPI cannot see: the two routes that are plain ASGI endpoints."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from . import schemas

_REFERENCE = "#/components/schemas/{model}"
# status → when, and the title and the detail of an example
_PROBLEMS = {
    400: ("The body is not valid JSON in UTF-8.", "Bad Request", "the body is not valid JSON, at line 1 column 1"),
    401: (
        "The server requires an API key and the request has none.",
        "Unauthorized",
        "an API key is required: Authorization: Bearer …, or X-API-Key",
    ),
    403: ("The API key is not valid, has expired or is not for this route.", "Forbidden", "this API key is not valid"),
    408: ("The body did not arrive in time.", "Request Timeout", "the body did not arrive in time"),
    413: (
        "The body, a text or the list exceeds its limit, or a text is too long and `truncate` is false.",
        "Content Too Large",
        "{place}: the text has more than 10000 characters",
    ),
    415: (
        "The content type is not `application/json`.",
        "Unsupported Media Type",
        "the content type must be application/json",
    ),
    422: (
        "The JSON does not match the schema; `errors` lists the invalid parts.",
        "Unprocessable Content",
        "{place}: the text has no visible character",
    ),
    429: (
        "The server is overloaded, or the client is over its rate limit. Wait for `Retry-After` seconds.",
        "Overloaded",
        "the queue is too long; try again later",
    ),
    431: (
        "The headers exceed their limit.",
        "Request Header Fields Too Large",
        "the headers are larger than 32768 bytes in total",
    ),
    500: (
        "The model failed on this text, or the server has a bug.",
        "Internal Server Error",
        "the server failed to answer this request",
    ),
    503: (
        "The server is loading, draining or broken, or request bodies take too much memory. Wait for `Retry-After` "
        "seconds.",
        "Not Ready",
        "the model is loading",
    ),
    504: ("The deadline passed.", "Deadline Exceeded", "no result before the deadline"),
}
# Of routes that name something by its path, and never of predictions.
_PROBLEMS_OF_THINGS = {
    404: ("There is none of this id, or it is not yours.", "Not Found", "you have no job of this id"),
    409: ("Its state does not allow this.", "Conflict", "only a completed job has a result; this one is running"),
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
        "description": "`hit`: all texts came from the cache, except those with an error; `miss`: at least one was "
        "computed; `joined`: another request was already computing the same text.",
    },
    "Server-Timing": {
        "schema": {"type": "string"},
        "description": "Milliseconds: `tokenize;dur=…, queue;dur=…, infer;dur=…, total;dur=…`.",
    },
}
_SECURITY = {
    "Bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "Key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same API key, in its own header.",
    },
}
_POSITIVE = {
    "label": "positive",
    "confidence": 0.993,
    "scores": {"negative": 0.002, "neutral": 0.005, "positive": 0.993},
    "truncated": False,
}
_NEGATIVE = _POSITIVE | {
    "label": "negative",
    "confidence": 0.97,
    "scores": {"negative": 0.97, "neutral": 0.02, "positive": 0.01},
}
_BLANK = {"error": {"status": 422, "detail": "the text has no visible character"}}
# A request and its response each.
_TEXT = {"request": {"text": "An instant classic, if you ask me."}, "response": _POSITIVE}
_LIST = {"request": {"texts": ["Superb.", "Dreadful."]}, "response": {"predictions": [_POSITIVE, _NEGATIVE]}}
_PARTIAL_LIST = {
    "request": {"texts": ["Superb.", ""], "partial": True},
    "response": {"predictions": [_POSITIVE, _BLANK]},
}
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Whole seconds."}}


def problems(*statuses: int, loc: Sequence[str | int] = ()) -> dict[int | str, dict[str, Any]]:
    """Describe error responses. In the examples, the text at `loc` is invalid."""
    described: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        when, title, detail = (_PROBLEMS | _PROBLEMS_OF_THINGS)[status]
        detail = detail.format(place=".".join(map(str, loc)))
        example = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        example["request_id"] = "0f3c5a8e7b1d2946"
        if status == 422:
            example["errors"] = [{"loc": list(loc), "msg": detail.partition(": ")[2]}]
        schema = {"$ref": _REFERENCE.format(model="Problem")}
        content = {"application/problem+json": {"schema": schema, "example": example}}
        described[status] = {"description": when, "content": content}
        if status in (429, 503):
            described[status]["headers"] = _RETRY_AFTER
    return described


def _documented(
    body: type[schemas.Options], response: type[Any], loc: Sequence[str | int], **examples: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the keyword arguments that describe a prediction route.

    `examples` have a request and its response each. `loc` is the path to a text, for the examples of errors.
    """
    schema = {"$ref": _REFERENCE.format(model=body.__name__)}
    requests = {name: {"value": example["request"]} for name, example in examples.items()}
    answers = {name: {"value": example["response"]} for name, example in examples.items()}
    success = {"headers": _RESPONSE_HEADERS, "content": {"application/json": {"examples": answers}}}
    return {
        "tags": ["predict"],
        "response_model": response,
        "responses": {200: success} | problems(*_PROBLEMS, loc=loc),
        "openapi_extra": {
            "parameters": [_TIMEOUT, _REQUEST_ID],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": schema, "examples": requests}},
            },
        },
    }


def prediction_routes() -> APIRouter:
    """Return routes that only document: `Middleware` sends their requests to the endpoints in `predict.py`."""
    router = APIRouter()
    text = _documented(schemas.PredictRequest, schemas.PredictResponse, ("body", "text"), text=_TEXT)
    texts = _documented(
        schemas.BatchRequest, schemas.BatchResponse, ("body", "texts", 1), list=_LIST, partial=_PARTIAL_LIST
    )

    @router.post("/predict", **text)
    async def predict() -> None:
        """Predict the sentiment of one text."""
        raise NotImplementedError

    @router.post("/predict/batch", **texts)
    async def predict_batch() -> None:
        """Predict the sentiment of a list of texts.

        The list is admitted or refused as a whole. With `partial`, a text that cannot be predicted gets an error in its
        place; otherwise it fails the request.
        """
        raise NotImplementedError

    return router


def operation_id(route: APIRoute) -> str:
    """Return the name of an operation in the document, from which generators derive the names of functions."""
    return route.name


def install_openapi(app: FastAPI, *, public: Collection[str] | None, more: Collection[type[BaseModel]] = ()) -> None:
    """Complete the OpenAPI document of `app`: schemas that no route mentions by type, and which routes need a key.

    `public` are the paths that need none; None if no path needs a key. `more` are other models without a route.
    """
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            models: list[tuple[type[BaseModel], Literal["validation"]]] = [
                (schemas.PredictRequest, "validation"),
                (schemas.BatchRequest, "validation"),
            ]
            models.append((schemas.Problem, "validation"))
            models += [(model, "validation") for model in more]
            _, definitions = models_json_schema(models, ref_template=_REFERENCE)
            document["components"]["schemas"] |= definitions["$defs"]
            if public is not None:
                _require_keys(document, public)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _require_keys(document: dict[str, Any], public: Collection[str]) -> None:
    document["components"]["securitySchemes"] = _SECURITY
    refusals = {str(status): response for status, response in problems(401, 403).items()}
    for path, operations in document["paths"].items():
        if path not in public:
            for operation in operations.values():
                operation["security"] = [{name: []} for name in _SECURITY]
                operation["responses"] = refusals | operation["responses"]
