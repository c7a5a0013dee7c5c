"""Hugging Face's protocol for text classification, at `POST /`, as `huggingface_hub.InferenceClient` uses it."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from starlette.types import Receive, Send

from ...access import RateLimit
from ...errors import InvalidInput, TextTooLong
from ...serving import Lifecycle, Query
from ...types import Prediction, Text
from ..auth import caller_of
from ..bodies import Bodies, Body
from ..context import RequestContext
from ..endpoint import Endpoint, send_answer
from ..form import Form
from ..json_body import JsonReader
from ..openapi import STATUSES, documented, problems
from ..request import check_headers, timeout_ms, validate
from ..schemas import Count, Limits
from .protocol import PlainError, Protocol

Function = Annotated[Literal["softmax", "sigmoid", "none"], Field(title="Function")]

_TEXT = {"type": "string", "minLength": 1}
_INPUTS = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}


class Parameters(BaseModel):
    """Options. Others are ignored, as pipelines do with those that their tokenizer does not know."""

    model_config = ConfigDict(strict=True)

    top_k: Count | None = Field(default=None, description="Return only the k most likely classes.")
    function_to_apply: Function | None = Field(
        default=None,
        description="What the scores are: probabilities (`softmax`, the default), the logits that give these "
        "probabilities (`none`), or each of these logits by itself as a probability (`sigmoid`).",
    )


class HuggingFaceRequest(BaseModel):
    """One text or a list of texts. Fields with other names are ignored."""

    model_config = ConfigDict(strict=True)

    inputs: Annotated[Any, WithJsonSchema(_INPUTS)] = Field(
        description="A text, or at most SENTIMENT_MAX_BATCH_TEXTS (256) texts. A list is never a pair of texts."
    )
    parameters: Parameters | None = Field(None, description="Options.")


class Class(BaseModel):
    """A class and its score."""

    label: str = Field(description="The name of the class.", examples=["positive"])
    score: float = Field(description="Its probability, or what `function_to_apply` says.", examples=[0.993])


class HuggingFaceEndpoint(Endpoint):
    """Predicts one text or a list of texts."""

    routes = ("/",)

    def __init__(self, lifecycle: Lifecycle, limits: Limits, bodies: Bodies, rate: RateLimit | None = None) -> None:
        super().__init__(lifecycle, limits, bodies, rate)
        form = Form(
            HuggingFaceRequest.model_fields.keys(),
            limits.max_text_chars,
            list_field="inputs",
            max_texts=limits.max_batch_texts,
            small_fields=("parameters",),
        )
        self._reader = JsonReader(
            bodies,
            limits.max_body_bytes,
            form,
            HuggingFaceRequest,
            lambda value: validate(HuggingFaceRequest, value),
            lambda request: request.inputs if isinstance(request.inputs, list) else [request.inputs],
        )

    async def _respond(self, context: RequestContext, body: Body, receive: Receive, send: Send) -> None:
        check_headers(context.headers, self._limits.max_body_bytes)
        request = await self._reader.read(body, receive)
        texts = self._texts(request.inputs)
        is_list = isinstance(request.inputs, list)
        query = Query(
            texts,
            timeout_ms=timeout_ms(context.headers, self._limits.request_timeout_ms),
            caller=caller_of(context),
            may_be_shallow=False,  # the protocol could not say so
            location_of=lambda index: ("body", "inputs", index) if is_list else ("body", "inputs"),
        )
        answer = await self._answer(query, len(texts), context, receive)
        self._remember(context, answer.results)
        parameters = request.parameters or Parameters()
        content = [render(each, parameters.function_to_apply, parameters.top_k) for each in answer.predictions]
        await send_answer(send, orjson.dumps(content), answer)

    def _texts(self, inputs: object) -> list[Text]:
        if isinstance(inputs, str):
            return [inputs]
        if not isinstance(inputs, list) or not inputs:
            raise InvalidInput("expected a text or a list of texts", ("body", "inputs"))
        if len(inputs) > self._limits.max_batch_texts:
            raise TextTooLong(f"the list has more than {self._limits.max_batch_texts} texts", ("body", "inputs"))
        for index, text in enumerate(inputs):
            if not isinstance(text, Text):
                raise InvalidInput("expected a text; pairs of texts are not supported", ("body", "inputs", index))
        return inputs


def render(prediction: Prediction, function: Function | None, top_k: int | None) -> list[dict[str, Any]]:
    """Return the classes of a prediction, the best one first."""
    scores: Mapping[str, float] = prediction.scores
    if function in ("none", "sigmoid"):
        scores = prediction.logits()
    best = sorted(prediction.scores, key=lambda label: -prediction.scores[label])[:top_k]
    shown = _sigmoid if function == "sigmoid" else float
    return [{"label": label, "score": round(shown(scores[label]), 4)} for label in best]


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else 1 - _sigmoid(-logit)


_CLASSES = [{"label": "positive", "score": 0.993}, {"label": "neutral", "score": 0.005}]
_EXAMPLES = {
    "text": {
        "request": {"inputs": "An instant classic, if you ask me.", "parameters": {"top_k": 2}},
        "response": [_CLASSES],
    },
    "list": {
        "request": {"inputs": ["Superb.", "Excellent."], "parameters": {"top_k": 2}},
        "response": [_CLASSES, _CLASSES],
    },
}


def _router(_lifecycle: Lifecycle, _bodies: Bodies) -> APIRouter:
    """Return a route that only documents."""
    router = APIRouter()
    errors = problems(*STATUSES, loc=("body", "inputs"), plain=True)

    @router.post("/", **documented(HuggingFaceRequest, list[list[Class]], errors, _EXAMPLES, tag="protocols"))
    async def huggingface() -> None:
        """Predict as servers of Hugging Face do: for `InferenceClient.text_classification` and similar clients.

        The response has a list of classes for each text, the most likely one first, also for a single text.
        """
        raise NotImplementedError

    return router


def _owns(method: str, path: str) -> bool:
    return method == "POST" and path == "/"


HUGGING_FACE = Protocol(HuggingFaceEndpoint, _router, (HuggingFaceRequest, PlainError), _owns)
