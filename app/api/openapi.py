"""How routes are described in the OpenAPI document, including those that are plain ASGI endpoints."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from . import schemas

Responses = dict[int | str, dict[str, Any]]

REFERENCE = "#/components/schemas/{model}"
# status → when, and the title and the detail of an example
_PROBLEMS = {
    400: ("The body is not valid JSON in UTF-8.", "Bad Request", "the body is not valid JSON, at line 1 column 1"),
    401: (
        "The server requires an API key and the request has none.",
        "Unauthorized",
        "an API key is required: Authorization: Bearer …, or X-API-Key",
    ),
    403: ("The API key is not valid, has expired or is not for this route.", "Forbidden", "this API key is not valid"),
    404: ("The server has no such model.", "Not Found", "no such model; this server has sentiment-en"),
    408: ("The body did not arrive in time.", "Request Timeout", "the body did not arrive in time"),
    409: ("Its state does not allow this.", "Conflict", "only a completed job has a result; this one is running"),
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
    505: (
        "The version of HTTP is neither 1.1 nor 1.0.",
        "HTTP Version Not Supported",
        "only HTTP/1.1 and HTTP/1.0 are supported",
    ),
}
# Of routes that predict with a body of JSON.
STATUSES = [status for status in _PROBLEMS if status not in (404, 409)]
TIMEOUT = {
    "name": "X-Request-Timeout-Ms",
    "in": "header",
    "description": "Your deadline in milliseconds; it can only shorten the server's own. When it passes, the response "
    "is 504.",
    "schema": {"type": "integer", "minimum": 1},
}
REQUEST_ID = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "Your id for the request: 1 to 128 visible ASCII characters. It appears in the response and in the "
    "log. If it is missing or invalid, the server creates one.",
    "schema": {"type": "string"},
}
RESPONSE_HEADERS = {
    "X-Request-ID": {"schema": {"type": "string"}, "description": "The request's id."},
    "X-Model": {
        "schema": {"type": "string"},
        "description": "The model that predicted, as `name@version`.",
        "example": "sentiment-en@2026.11.6",
    },
    "X-Cache": {
        "schema": {"type": "string", "enum": ["hit", "miss", "joined"]},
        "description": "`hit`: all texts came from the cache, except those with an error; `miss`: at least one was "
        "computed; `joined`: another request was already computing the same text.",
    },
    "X-Depth": {
        "schema": {"type": "string"},
        "description": "Of a model with exits: the layers that the text went through, of all. For a list, those of the "
        "text that went furthest.",
        "example": "4/6",
    },
    "Server-Timing": {
        "schema": {"type": "string"},
        "description": "Milliseconds: `tokenize;dur=…, queue;dur=…, infer;dur=…, total;dur=…`.",
    },
}
POSITIVE = {
    "label": "positive",
    "confidence": 0.993,
    "scores": {"negative": 0.002, "neutral": 0.005, "positive": 0.993},
    "truncated": False,
}
_NEGATIVE = POSITIVE | {
    "label": "negative",
    "confidence": 0.97,
    "scores": {"negative": 0.97, "neutral": 0.02, "positive": 0.01},
}
BLANK = {"error": {"status": 422, "detail": "the text has no visible character"}}
# A request and its response each.
_TEXT = {"request": {"text": "An instant classic, if you ask me."}, "response": POSITIVE}
_LIST = {"request": {"texts": ["Superb.", "Dreadful."]}, "response": {"predictions": [POSITIVE, _NEGATIVE]}}
_PARTIAL_LIST = {
    "request": {"texts": ["Superb.", " "], "partial": True},
    "response": {"predictions": [POSITIVE, BLANK]},
}
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Whole seconds."}}


def problems(
    *statuses: int, loc: Sequence[str | int] = (), plain: bool = False, missing: tuple[str, str] | None = None
) -> Responses:
    """Describe error responses; `plain` are those of other protocols. In the examples, the text at `loc` is invalid.

    `missing` is what 404 means, and the detail of an example, if it is not about a model.
    """
    described: Responses = {}
    for status in statuses:
        when, title, detail = _PROBLEMS[status]
        if status == 404 and missing:
            when, detail = missing
        detail = detail.format(place=".".join(map(str, loc)))
        example = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        example["request_id"] = "0f3c5a8e7b1d2946"
        if status == 422:
            example["errors"] = [{"loc": list(loc), "msg": detail.partition(": ")[2]}]
        schema = {"$ref": REFERENCE.format(model="Problem")}
        content = {"application/problem+json": {"schema": schema, "example": example}}
        if plain:
            schema = {"$ref": REFERENCE.format(model="PlainError")}
            content = {"application/json": {"schema": schema, "example": {"error": detail}}}
        described[status] = {"description": when, "content": content}
        if status in (429, 503):
            described[status]["headers"] = _RETRY_AFTER
    return described


def documented(
    body: type[BaseModel],
    response: Any,
    errors: Responses,
    examples: Mapping[str, Mapping[str, Any]],
    *,
    tag: str = "predict",
) -> dict[str, Any]:
    """Return the arguments that describe a prediction route. `examples` have a request and its response each."""
    schema = {"$ref": REFERENCE.format(model=body.__name__)}
    requests = {name: {"value": example["request"]} for name, example in examples.items()}
    answers = {name: {"value": example["response"]} for name, example in examples.items()}
    success = {"headers": RESPONSE_HEADERS, "content": {"application/json": {"examples": answers}}}
    return {
        "tags": [tag],
        "response_model": response,
        "responses": {200: success} | errors,
        "openapi_extra": {
            "parameters": [TIMEOUT, REQUEST_ID],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": schema, "examples": requests}},
            },
        },
    }


def prediction_routes() -> APIRouter:
    """Return routes that only document: `Middleware` sends their requests to the endpoints in `predict.py`."""
    router = APIRouter()
    text = documented(
        schemas.PredictRequest,
        schemas.PredictResponse,
        problems(*STATUSES, 404, loc=("body", "text")),
        {"text": _TEXT},
    )
    texts = documented(
        schemas.BatchRequest,
        schemas.BatchResponse,
        problems(*STATUSES, 404, loc=("body", "texts", 1)),
        {"list": _LIST, "partial": _PARTIAL_LIST},
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

    @router.post("/models/{name}/predict", **text)
    async def predict_with_model(name: str) -> None:
        """Predict the sentiment of one text with the model of this name."""
        raise NotImplementedError

    @router.post("/models/{name}/predict/batch", **texts)
    async def predict_batch_with_model(name: str) -> None:
        """Predict the sentiment of a list of texts with the model of this name."""
        raise NotImplementedError

    return router
