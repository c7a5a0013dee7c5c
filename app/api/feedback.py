"""`POST /feedback`: people say which label was right."""

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..errors import NotReady
from ..serving import Feedback
from ..types import Prediction
from .bodies import Bodies
from .context import RequestContext, context_of
from .form import Form
from .json_body import JsonReader
from .openapi import REFERENCE, problems
from .request import check_headers, validate
from .schemas import CountOrZero, Limits

_OFF = "feedback is off: the setting SENTIMENT_FEEDBACK is false"
_OFF_RETRY_AFTER_S = 3600.0
_MAX_BYTES = 4096

_EXAMPLE: dict[str, Any] = {"request_id": "0f3c5a8e7b1d2946", "label": "negative", "index": 0}

_MISSING = (
    "No prediction has this request id, or it was made too long ago.",
    "there is no prediction with this request id; each process keeps the ids of its last 10 000 requests",
)


class FeedbackRequest(BaseModel):
    """The right label of a text that was predicted before."""

    model_config = ConfigDict(strict=True, extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    request_id: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")] = Field(
        description="`X-Request-ID` of the response with the prediction."
    )
    label: Annotated[str, StringConstraints(min_length=1, max_length=256)] = Field(
        description="The label that is right: one of the labels of the model."
    )
    index: CountOrZero = Field(0, description="Place of the text in the list of the request, from 0.")


class Observer(Protocol):
    """Counts what happens."""

    def feedback_taken(self, *, is_right: bool) -> None:
        """Somebody said whether a predicted label was right."""


def remember(feedback: Feedback, context: RequestContext, results: Sequence[object]) -> None:
    """Remember the results of a request, in the order of its texts. A text without a prediction cannot get feedback."""
    predictions = [each if isinstance(each, Prediction) else None for each in results]
    first = next(filter(None, predictions), None)
    if first is not None:
        labels = [each.label if each else None for each in predictions]
        feedback.remember(_key(context, context.request_id), context.model, labels, [*first.scores])


def feedback_router(feedback: Feedback | None, bodies: Bodies, limits: Limits, observer: Observer) -> APIRouter:
    """Return the route. Without `feedback`, it says that feedback is off."""
    router = APIRouter(tags=["predict"])
    form = Form(FeedbackRequest.model_fields.keys(), limits.max_text_chars)
    max_bytes = min(limits.max_body_bytes, _MAX_BYTES)
    reader = JsonReader(
        bodies, max_bytes, form, FeedbackRequest, lambda value: validate(FeedbackRequest, value), lambda _: ()
    )

    @router.post("/feedback", status_code=204, **_document())
    async def send_feedback(request: Request) -> Response:
        """Say which label was right for a text, by the id of the request that predicted it.

        Only counts are kept, no texts. Another feedback for the same text replaces the first one. Off by default: see
        SENTIMENT_FEEDBACK.
        """
        if feedback is None:
            raise NotReady(_OFF, _OFF_RETRY_AFTER_S)
        context = context_of(request.scope)
        check_headers(context.headers, max_bytes)
        with bodies.hold() as body:
            said = await reader.read(body, request.receive)
        outcome = feedback.record(_key(context, said.request_id), said.label, said.index)
        observer.feedback_taken(is_right=outcome.predicted == outcome.label)
        return Response(status_code=204)

    return router


def _key(context: RequestContext, request_id: str) -> str:
    """Return what a request is remembered by: clients choose ids, so those of different API keys may be equal."""
    return f"{context.key_name or ''} {request_id}"


def _document() -> dict[str, Any]:
    schema = {"$ref": REFERENCE.format(model=FeedbackRequest.__name__)}
    responses = problems(400, 404, 408, 413, 415, 422, 429, 431, 500, 503, loc=("body", "label"), missing=_MISSING)
    return {
        "responses": responses | {204: {"description": "It is counted."}},
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": schema, "example": _EXAMPLE}},
            }
        },
    }
