"""The routes that predict."""

from typing import Any

import orjson
from fastapi import Request, Response

from app.api import schemas
from app.api.auth import caller, holder
from app.api.body import parse, timeout_ms
from app.api.direct import DirectRoute
from app.api.disconnect import unless_disconnected
from app.api.openapi import documented
from app.errors import InvalidInput, TextTooLong
from app.lifecycle import Lifecycle
from app.rate import RateLimit
from app.types import Answer, Prediction


def prediction_routes(
    lifecycle: Lifecycle, limits: schemas.Limits, rate: RateLimit | None, *, body_timeout_s: float
) -> list[DirectRoute]:
    """Return `POST /predict` and `POST /predict/batch`."""
    # The longest JSON of one text: each character may be written as two escapes of six bytes.
    single_bytes = 12 * limits.max_text_chars + 1024

    async def answer(request: Request, texts: list[str], options: schemas.Options, field: str) -> Answer:
        service = lifecycle.serving()
        wait_ms = timeout_ms(request, limits.request_timeout_ms)
        if rate:
            await _count(rate, request, len(texts))
        terms: dict[str, Any] = {
            "timeout_ms": wait_ms,
            "truncate": options.truncate,
            "window": options.long_text == "window",
            "caller": holder(request),
        }
        if len(texts) == 1 and (known := service.at_once(texts[0], **terms)):
            return _timed(request, known)
        lifecycle.in_flight += 1
        try:
            work = service.predict(texts, **terms)
            found = await unless_disconnected(request, work)
        except InvalidInput as error:
            # The service knows a text by its index, the caller by its place in the body.
            error.loc = ("body", field) if field == "text" else ("body", field, *error.loc)
            raise
        finally:
            lifecycle.in_flight -= 1
        return _timed(request, found)

    async def predict(request: Request) -> Response:
        """The sentiment of one text."""
        wanted = await parse(request, schemas.PredictRequest, min(limits.max_body_bytes, single_bytes), body_timeout_s)
        found = await answer(request, [wanted.text], wanted, "text")
        return _Json(_shown(found.predictions[0], wanted.top_k), found.cache)

    async def predict_batch(request: Request) -> Response:
        """The sentiments of several texts, in their order. Admitted whole or refused whole."""
        wanted = await parse(request, schemas.BatchRequest, limits.max_body_bytes, body_timeout_s)
        if len(wanted.texts) > limits.max_batch_texts:
            raise TextTooLong(f"over {limits.max_batch_texts} texts", ("body", "texts"))
        found = await answer(request, wanted.texts, wanted, "texts")
        shown = [_shown(prediction, wanted.top_k) for prediction in found.predictions]
        return _Json({"predictions": shown}, found.cache)

    return [
        DirectRoute("/predict", predict, **documented(schemas.PredictRequest, schemas.PredictResponse)),
        DirectRoute("/predict/batch", predict_batch, **documented(schemas.BatchRequest, schemas.BatchResponse)),
    ]


async def _count(rate: RateLimit, request: Request, texts: int) -> None:
    quota = await rate.take(caller(request), texts)
    request.state.quota = quota
    if quota and not quota.passed:
        raise rate.refusal(quota)


def _timed(request: Request, found: Answer) -> Answer:
    # Past starlette's `State`, which takes its time.
    timings = request.scope["state"]["timings"]
    timings.update(tokenize=found.tokenize_ms, queue=found.queue_ms, infer=found.infer_ms)
    return found


def _shown(prediction: Prediction, top_k: int | None) -> dict[str, Any]:
    scores = {label: round(score, 4) for label, score in prediction.scores.items()}
    if top_k is not None:
        best = sorted(scores, key=lambda label: -prediction.scores[label])[:top_k]
        scores = {label: score for label, score in scores.items() if label in best}
    return {
        "label": prediction.label,
        "confidence": round(prediction.confidence, 4),
        "scores": scores,
        "truncated": prediction.truncated,
    }


class _Json(Response):
    """JSON, with the headers that every prediction has."""

    def __init__(self, content: dict[str, Any], cache: str) -> None:
        self.status_code, self.background = 200, None
        self.body = orjson.dumps(content)
        self.raw_headers = [*_HEADERS, (b"x-cache", cache.encode()), (b"content-length", b"%d" % len(self.body))]


_HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
