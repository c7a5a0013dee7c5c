"""What the routes that predict do: from the bytes of a body to a response, whichever way they come and it goes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson
from starlette.responses import Response
from starlette.types import Scope

from ..access.rate_limit import RateLimit
from ..errors import InvalidInput, TextTooLong
from ..serving.lifecycle import Lifecycle
from ..serving.service import Service
from ..types import Answer, Prediction
from . import body, schemas
from .auth import caller, holder
from .context import TIMINGS, headers_of

O = TypeVar("O", bound=schemas.Options)  # noqa: E741 - options

_HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


@dataclass(slots=True)
class Asked(Generic[O]):
    """A request that was understood, and who is to answer it on which terms."""

    scope: Scope
    options: O
    texts: list[str]
    service: Service
    terms: dict[str, Any]


class Endpoint(ABC, Generic[O]):
    """What `POST` to one path does: `understand`, then `at_once` or, where that has nothing to say, `answer`."""

    path: str
    schema: type[O]
    field: str  # of the body, with the text or texts

    def __init__(self, lifecycle: Lifecycle, limits: schemas.Limits, rate: RateLimit | None) -> None:
        self._lifecycle = lifecycle
        self._limits = limits
        self._rate = rate
        self.max_bytes = limits.max_body_bytes

    def understand(self, scope: Scope, content: bytes) -> Asked[O]:
        """Validate a request, whose headers were checked, and see who can answer it; raise when it cannot be."""
        headers = headers_of(scope)
        body.bound(len(content), self.max_bytes)
        options = body.validated(self.schema, content)
        texts = self._texts(options)
        service = self._lifecycle.serving()
        terms = {
            "timeout_ms": body.timeout_ms(headers, self._limits.request_timeout_ms),
            "truncate": options.truncate,
            "window": options.long_text == "window",
            "caller": holder(scope),
        }
        return Asked(scope, options, texts, service, terms)

    def at_once(self, asked: Asked[O]) -> Response | None:
        """Answer from the cache, or refuse, with nothing to wait for; None to say: `answer`. Raises as it does."""
        return None if self._rate else self._known(asked)

    async def answer(self, asked: Asked[O]) -> Response:
        """Answer, or raise."""
        if self._rate:
            await self._count(self._rate, asked)
            if response := self._known(asked):
                return response
        self._lifecycle.in_flight += 1
        try:
            found = await asked.service.predict(asked.texts, **asked.terms)
        except InvalidInput as error:
            # The service knows a text by its index, the caller by its place in the body.
            error.loc = ("body", self.field, *self._place(error))
            raise
        finally:
            self._lifecycle.in_flight -= 1
        return self._respond(asked, found)

    def _known(self, asked: Asked[O]) -> Response | None:
        found = asked.service.at_once(asked.texts[0], **asked.terms) if len(asked.texts) == 1 else None
        return None if found is None else self._respond(asked, found)

    async def _count(self, rate: RateLimit, asked: Asked[O]) -> None:
        quota = asked.scope["state"]["quota"] = await rate.take(caller(asked.scope), len(asked.texts))
        if quota and not quota.passed:
            raise rate.refusal(quota)

    def _respond(self, asked: Asked[O], found: Answer) -> Response:
        asked.scope["state"][TIMINGS] = (found.tokenize_ms, found.queue_ms, found.infer_ms)
        return _Json(self._shown(found.predictions, asked.options), found.cache)

    @abstractmethod
    def _texts(self, options: O) -> list[str]: ...

    @abstractmethod
    def _place(self, error: InvalidInput) -> tuple[str | int, ...]: ...

    @abstractmethod
    def _shown(self, predictions: list[Prediction], options: O) -> dict[str, Any]: ...


class One(Endpoint[schemas.PredictRequest]):
    """The sentiment of one text."""

    path, schema, field = "/predict", schemas.PredictRequest, "text"

    def __init__(self, lifecycle: Lifecycle, limits: schemas.Limits, rate: RateLimit | None) -> None:
        super().__init__(lifecycle, limits, rate)
        # The longest JSON of one text: each character may be written as two escapes of six bytes.
        self.max_bytes = min(limits.max_body_bytes, 12 * limits.max_text_chars + 1024)

    def _texts(self, options: schemas.PredictRequest) -> list[str]:
        return [options.text]

    def _place(self, _error: InvalidInput) -> tuple[str | int, ...]:
        return ()

    def _shown(self, predictions: list[Prediction], options: schemas.PredictRequest) -> dict[str, Any]:
        return _shown(predictions[0], options.top_k)


class Many(Endpoint[schemas.BatchRequest]):
    """The sentiments of several texts, in their order. Admitted whole or refused whole."""

    path, schema, field = "/predict/batch", schemas.BatchRequest, "texts"

    def _texts(self, options: schemas.BatchRequest) -> list[str]:
        if len(options.texts) > self._limits.max_batch_texts:
            raise TextTooLong(f"over {self._limits.max_batch_texts} texts", ("body", "texts"))
        return options.texts

    def _place(self, error: InvalidInput) -> tuple[str | int, ...]:
        return error.loc

    def _shown(self, predictions: list[Prediction], options: schemas.BatchRequest) -> dict[str, Any]:
        return {"predictions": [_shown(prediction, options.top_k) for prediction in predictions]}


def _shown(prediction: Prediction, top_k: int | None) -> dict[str, Any]:
    scores = {label: round(score, 4) for label, score in prediction.scores.items()}
    confidence = scores[prediction.label]
    if top_k is not None:
        best = sorted(scores, key=lambda label: -prediction.scores[label])[:top_k]
        scores = {label: score for label, score in scores.items() if label in best}
    return {
        "label": prediction.label,
        "confidence": confidence,
        "scores": scores,
        "truncated": prediction.truncated,
    }


class _Json(Response):
    """JSON, with the headers that every prediction has."""

    def __init__(self, content: dict[str, Any], cache: str) -> None:
        self.status_code, self.background = 200, None
        self.body = orjson.dumps(content)
        self.raw_headers = [*_HEADERS, (b"x-cache", cache.encode()), (b"content-length", b"%d" % len(self.body))]
