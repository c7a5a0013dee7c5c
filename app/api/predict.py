"""`POST /predict` and `POST /predict/batch`: plain ASGI endpoints from the bytes of a body to a response."""

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import orjson
from starlette.types import Receive, Scope, Send

from ..access import RateLimit
from ..errors import TextTooLong
from ..serving import Answer, Lifecycle, Pending, Query
from ..types import Location, Prediction
from .auth import caller_of
from .context import RequestContext, context_of
from .request import check_headers, read_body, timeout_ms, unless_disconnected, validate
from .schemas import BatchRequest, Limits, Options, PredictRequest

O = TypeVar("O", bound=Options)  # noqa: E741 - options

_HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


class _Endpoint(ABC, Generic[O]):
    """Reads and validates a request, calls the service and renders. Raises what `errors.respond_to` handles."""

    path: str
    schema: type[O]

    def __init__(self, lifecycle: Lifecycle, limits: Limits, rate: RateLimit | None = None) -> None:
        self._lifecycle = lifecycle
        self._limits = limits
        self._rate = rate
        self._max_bytes = limits.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = context_of(scope)
        check_headers(context.headers, self._max_bytes)
        options = validate(self.schema, await read_body(receive, self._max_bytes))
        query = Query(
            self._texts(options),
            timeout_ms=timeout_ms(context.headers, self._limits.request_timeout_ms),
            truncate=options.truncate,
            long_text=options.long_text,
            caller=context.key_name,
            location_of=self._location_of,
        )
        answer = await self._answer(query, context, receive)
        context.timings_ms = (answer.tokenize_ms, answer.queue_ms, answer.infer_ms)
        body = orjson.dumps(self._render(answer.predictions, options.top_k))
        headers = [*_HEADERS, (b"x-cache", answer.cache.encode()), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, query: Query, context: RequestContext, receive: Receive) -> Answer:
        service = self._lifecycle.serving()
        if self._rate:
            context.quota = await self._rate.take(caller_of(context), len(query.texts))
            if context.quota and not context.quota.passed:
                raise self._rate.refusal(context.quota)
        self._lifecycle.in_flight += 1
        try:
            answer = await service.begin(query)
            if isinstance(answer, Pending):
                answer = await unless_disconnected(receive, answer.result())
            return answer
        finally:
            self._lifecycle.in_flight -= 1

    @abstractmethod
    def _texts(self, options: O) -> list[str]: ...

    @abstractmethod
    def _location_of(self, index: int) -> Location: ...

    @abstractmethod
    def _render(self, predictions: list[Prediction], top_k: int | None) -> dict[str, Any]: ...


class PredictEndpoint(_Endpoint[PredictRequest]):
    """Predicts one text."""

    path, schema = "/predict", PredictRequest

    def __init__(self, lifecycle: Lifecycle, limits: Limits, rate: RateLimit | None = None) -> None:
        super().__init__(lifecycle, limits, rate)
        # The longest JSON of one text: a character may be written as two escapes of six bytes.
        self._max_bytes = min(limits.max_body_bytes, 12 * limits.max_text_chars + 1024)

    def _texts(self, options: PredictRequest) -> list[str]:
        return [options.text]

    def _location_of(self, _index: int) -> Location:
        return ("body", "text")

    def _render(self, predictions: list[Prediction], top_k: int | None) -> dict[str, Any]:
        return predictions[0].render(top_k)


class PredictBatchEndpoint(_Endpoint[BatchRequest]):
    """Predicts a list of texts. The list is admitted or refused as a whole."""

    path, schema = "/predict/batch", BatchRequest

    def _texts(self, options: BatchRequest) -> list[str]:
        if len(options.texts) > self._limits.max_batch_texts:
            raise TextTooLong(f"the list has more than {self._limits.max_batch_texts} texts", ("body", "texts"))
        return options.texts

    def _location_of(self, index: int) -> Location:
        return ("body", "texts", index)

    def _render(self, predictions: list[Prediction], top_k: int | None) -> dict[str, Any]:
        return {"predictions": [prediction.render(top_k) for prediction in predictions]}
