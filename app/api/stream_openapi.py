"""`POST /predict/stream` in the OpenAPI document."""

import orjson
from fastapi import APIRouter, Response

from .openapi import BLANK, POSITIVE, REFERENCE, REQUEST_ID, RESPONSE_HEADERS, TIMEOUT, problems
from .schemas import Options
from .stream_schemas import StreamFailure, StreamLine, StreamPrediction

_MEDIA_TYPE = "application/x-ndjson"
_REQUEST = '{"id": 1, "text": "Superb."}\n{"id": 2, "text": " "}\n'
_ANSWERS = ({"id": 1} | POSITIVE, {"id": 2} | BLANK)


def stream_routes() -> APIRouter:
    """Return a route that only documents. OpenAPI 3.1 has no schemas of lines, so its schemas are those of one line."""
    router = APIRouter()
    line, prediction, failure = (
        {"$ref": REFERENCE.format(model=model.__name__)} for model in (StreamLine, StreamPrediction, StreamFailure)
    )
    example = "".join(orjson.dumps(answer).decode() + "\n" for answer in _ANSWERS)
    success = {
        "description": "The answers, one per line.",
        "headers": {name: RESPONSE_HEADERS[name] for name in ("X-Request-ID", "X-Model")},
        "content": {_MEDIA_TYPE: {"schema": {"anyOf": [prediction, failure]}, "example": example}},
    }
    described = {
        "parameters": [*_parameters(), TIMEOUT | {"description": "Your deadline for each text."}, REQUEST_ID],
        "requestBody": {"required": True, "content": {_MEDIA_TYPE: {"schema": line, "example": _REQUEST}}},
    }

    @router.post(
        "/predict/stream",
        tags=["predict"],
        response_class=Response,
        responses={200: success, **_refusals()},
        openapi_extra=described,
    )
    async def predict_stream() -> None:
        """Predict any number of texts, one per line, while you send them.

        The request and the response are NDJSON: JSON objects, each on a line of its own. Each line of the request has
        an answer, in the same order: a prediction, or an error if only this line cannot be served. Answers come while
        the request is being sent. Read them at the same time, because the server stops reading from a client that does
        not read. A last line without an `id` says why the server has ended the stream.
        """
        raise NotImplementedError

    return router


def _parameters() -> list[dict[str, object]]:
    options = Options.model_json_schema()["properties"]
    return [
        {"name": name, "in": "query", "description": options[name].pop("description"), "schema": options[name]}
        for name in ("truncate", "long_text", "top_k", "model")
    ]


def _refusals() -> dict[int | str, dict[str, object]]:
    """Describe the errors before the first line is read. Those of a line are in its answer."""
    refusals: dict[int | str, dict[str, object]] = dict(problems(404, 415, 422, 429, 431, 503, loc=("query", "top_k")))
    for status, when, detail in (
        (415, f"The content type is not `{_MEDIA_TYPE}`.", f"the content type must be {_MEDIA_TYPE}"),
        (422, "An option is not valid; `errors` says which.", "Input should be a valid integer"),
        (429, "The client is over its rate limit. Wait for `Retry-After` seconds.", "over the rate limit per client"),
    ):
        example = refusals[status]["content"]["application/problem+json"]["example"]  # type: ignore[index]
        refusals[status]["description"] = when
        example["detail"] = f"query.top_k: {detail}" if status == 422 else detail
        if status == 422:
            example["errors"][0]["msg"] = detail
    return refusals
