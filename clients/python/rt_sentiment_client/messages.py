"""Requests and responses as bytes: what is sent, and what the responses mean. No I/O."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode

from .errors import InvalidText, SentimentError, UnexpectedResponse, error_from_response, error_in_place
from .lists import TextList, encode
from .types import ExplainedPrediction, Info, Limits, Prediction, WordWeight

T = TypeVar("T")

LongText = Literal["truncate", "window"]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a prediction. None leaves the choice to the server."""

    top_k: int | None = None
    long_text: LongText | None = None
    truncate: bool | None = None
    explain: bool | None = None
    model: str | None = None

    def given(self) -> dict[str, Any]:
        """Return the options that are not None."""
        fields = {
            "top_k": self.top_k,
            "long_text": self.long_text,
            "truncate": self.truncate,
            "explain": self.explain,
            "model": self.model,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def query(self) -> str:
        """Return the options that are not None as the query of an address."""
        given = self.given().items()
        return urlencode({name: value if isinstance(value, str) else json.dumps(value) for name, value in given})


@dataclass(frozen=True, slots=True)
class Message:
    """A request. If it `can_be_split`, sending its parts is better than sending it again.

    If it cannot be repeated, it is sent again only after a response that says that nothing was done.
    """

    method: str
    path: str
    request_id: str
    body: bytes = b""
    can_be_split: bool = False
    can_be_repeated: bool = True
    more_headers: Mapping[str, str] = field(default_factory=dict)

    def headers(self, timeout_s: float) -> dict[str, str]:
        """Return the headers of an attempt that may take `timeout_s`."""
        headers = {"x-request-id": self.request_id, "x-request-timeout-ms": str(max(1, int(timeout_s * 1000)))}
        return headers | ({"content-type": "application/json"} if self.body else {}) | dict(self.more_headers)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. The names of its headers ignore case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def model(self) -> str | None:
        return self.headers.get("x-model")

    def request_id(self, sent: str) -> str:
        """Return the id that the server knows the request by: `sent`, unless something has replaced it on its way."""
        return self.headers.get("x-request-id", sent)


def text_message(text: str, options: Options, request_id: str) -> Message:
    """Return the request for one text. Raises `InvalidText` if it cannot be sent."""
    if isinstance(text, str) and not _is_unicode(text):
        raise InvalidText("the text has an incomplete surrogate pair", request_id=request_id)
    return Message("POST", "/predict", request_id, _body(b'"text":' + encode(text), options.given()))


def list_message(texts: TextList, options: Options, request_id: str) -> Message:
    """Return the request for a list of texts."""
    body = _body(b'"texts":[' + b",".join(texts.texts) + b"]", {"partial": True} | options.given())
    return Message("POST", "/predict/batch", request_id, body, can_be_split=len(texts) > 1)


def feedback_message(predicted_id: str, label: str, index: int, request_id: str) -> Message:
    """Return the request that says which label was right."""
    body = json.dumps({"request_id": predicted_id, "label": label, "index": index}).encode()
    return Message("POST", "/feedback", request_id, body)


def info_message(request_id: str) -> Message:
    return Message("GET", "/info", request_id)


def check(answer: Answer, message: Message) -> Answer:
    """Return the answer; raise the error that it means."""
    if not 200 <= answer.status < 300:
        raise error_from_response(answer.status, answer.headers, answer.body, message.request_id)
    return answer


def read_prediction(answer: Answer, message: Message) -> Prediction:
    """Read the answer for one text."""
    prediction = prediction_of(json_of(answer.body, message.request_id), answer.model, message.request_id)
    return replace(prediction, request_id=answer.request_id(message.request_id))


def read_explained(answer: Answer, message: Message) -> ExplainedPrediction:
    """Read the answer for one text with an explanation."""
    prediction = read_prediction(answer, message)
    if not isinstance(prediction, ExplainedPrediction):
        raise unexpected(message.request_id)
    return prediction


def read_predictions(answer: Answer, message: Message, texts: TextList) -> list[Prediction | SentimentError]:
    """Read the answer for a list: in each place a prediction or an error."""
    content = json_of(answer.body, message.request_id)
    places = content.get("predictions")
    if not isinstance(places, list) or len(places) != len(texts):
        raise unexpected(message.request_id)
    results = [
        result_of(place, answer.model, message.request_id, texts.first + number) for number, place in enumerate(places)
    ]
    answered_id = answer.request_id(message.request_id)
    return [
        replace(result, request_id=answered_id, index=number) if isinstance(result, Prediction) else result
        for number, result in enumerate(results)
    ]


def result_of(content: Any, model: str | None, request_id: str, index: int) -> Prediction | SentimentError:
    """Read a prediction, or the error in its place."""
    if isinstance(content, dict) and "error" in content:
        error = error_in_place(content["error"], request_id)
        error.index = index
        return error
    return prediction_of(content, model, request_id)


def prediction_of(content: Any, model: str | None, request_id: str) -> Prediction:
    """Read a prediction; fields that this client does not know are ignored."""
    try:
        prediction = Prediction(
            label=None if content["label"] is None else typed(content["label"], str),
            confidence=float(content["confidence"]),
            scores={typed(label, str): float(score) for label, score in content["scores"].items()},
            truncated=typed(content["truncated"], bool),
            model=model,
            shallow=typed(content.get("shallow", False), bool),
        )
        if "explanation" not in content:
            return prediction
        words = [
            WordWeight(typed(w["start"], int), typed(w["end"], int), float(w["weight"])) for w in content["explanation"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise unexpected(request_id) from None
    return ExplainedPrediction(
        prediction.label, prediction.confidence, prediction.scores, prediction.truncated, model, tuple(words)
    )


def read_info(answer: Answer, message: Message) -> Info:
    """Read the answer of `/info`."""
    content = json_of(answer.body, message.request_id)
    try:
        limits = content["limits"]
        return Info(
            model=typed(content["model"], str),
            model_version=typed(content["model_version"], str),
            labels=tuple(typed(label, str) for label in content["labels"]),
            max_tokens=typed(content["max_tokens"], int),
            limits=Limits(
                max_text_chars=typed(limits["max_text_chars"], int),
                max_batch_texts=typed(limits["max_batch_texts"], int),
                max_body_bytes=typed(limits["max_body_bytes"], int),
                request_timeout_ms=float(limits["request_timeout_ms"]),
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise unexpected(message.request_id) from None


def _body(texts: bytes, fields: Mapping[str, Any]) -> bytes:
    return (
        b"{" + texts + b"".join(b",%s:%s" % (encode(name), json.dumps(fields[name]).encode()) for name in fields) + b"}"
    )


def json_of(body: bytes, request_id: str) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise unexpected(request_id) from None
    if not isinstance(content, dict):
        raise unexpected(request_id)
    return content


def typed(value: object, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError
    return value


def unexpected(request_id: str) -> UnexpectedResponse:
    return UnexpectedResponse(
        "the response is not what rt-sentiment sends; is base_url right?", status=200, request_id=request_id
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
