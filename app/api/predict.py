"""`POST /predict` and `POST /predict/batch`: plain ASGI endpoints from the bytes of a body to a response."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

import orjson
from starlette.types import Receive, Send

from ..access import RateLimit
from ..errors import InvalidInput, SentimentError, TextTooLong
from ..serving import MAX_EXPLAINED_CHARS, Lifecycle, Query, cost_of
from ..types import Location, Prediction, Text, unpack
from .auth import caller_of
from .bodies import Bodies, Body
from .context import RequestContext
from .endpoint import Endpoint, send_answer
from .errors import render_failure
from .form import Form
from .json_body import JsonReader
from .request import check_headers, timeout_ms, valid_text, validate
from .schemas import MAX_EXPLAINED, BatchRequest, Limits, Options, PartialBatchRequest, PredictRequest

T = TypeVar("T")
O = TypeVar("O", bound=Options)  # noqa: E741 - options


class _Endpoint(Endpoint, Generic[O]):
    """Has its options in fields of the body, beside the texts."""

    model: type[O]

    def __init__(self, lifecycle: Lifecycle, limits: Limits, bodies: Bodies, rate: RateLimit | None = None) -> None:
        super().__init__(lifecycle, limits, bodies, rate)
        self._reader = JsonReader(
            bodies, self._max_bytes(limits), self._form(limits), self.model, self._validate, self._texts
        )

    async def _respond(self, context: RequestContext, body: Body, receive: Receive, send: Send) -> None:
        check_headers(context.headers, self._reader.max_bytes)
        options = await self._reader.read(body, receive)
        texts = self._texts(options)
        if options.explain:
            texts = [self._explainable(text, index, options) for index, text in enumerate(texts)]
        query = Query(
            [text for text in texts if not isinstance(text, InvalidInput)],
            timeout_ms=timeout_ms(context.headers, self._limits.request_timeout_ms),
            truncate=options.truncate,
            long_text=options.long_text,
            caller=caller_of(context),
            partial=self._is_partial(options),
            explain=options.explain,
            may_be_shallow=not options.explain,
            location_of=self._location_of,
        )
        cost = len(texts)
        if options.explain:
            cost += sum(cost_of(unpack(text)) - 1 for text in query.texts)
        answer = await self._answer(query, cost, context, receive, _model_of(context, options))
        rendered: Sequence[dict[str, Any]] = [_render(result, options.top_k) for result in answer.results]
        for each, words in zip(rendered, answer.explanations, strict=False):  # of none, unless they were asked for
            if words is not None:
                each["explanation"] = [word.render() for word in words]
        results: Sequence[Prediction | SentimentError] = answer.results
        if len(results) < len(texts):
            results = _in_place(results, texts, lambda error: error)
            rendered = _in_place(rendered, texts, render_failure)
        self._remember(context, results)
        content = orjson.dumps(self._wrap(rendered))
        await send_answer(send, content, answer)

    def _max_bytes(self, limits: Limits) -> int:
        return limits.max_body_bytes

    def _form(self, limits: Limits) -> Form:
        return Form(self.model.model_fields.keys(), limits.max_text_chars)

    def _validate(self, value: Any) -> O:
        return validate(self.model, value)

    def _explainable(self, text: Text | InvalidInput, index: int, options: O) -> str | InvalidInput:
        if isinstance(text, InvalidInput):
            return text
        text = unpack(text)
        if len(text) <= MAX_EXPLAINED_CHARS:
            return text
        detail = f"only texts of at most {MAX_EXPLAINED_CHARS} characters can be explained"
        error = TextTooLong(detail, self._location_of(index))
        if self._is_partial(options):
            return error
        raise error

    @abstractmethod
    def _texts(self, options: O) -> Sequence[Text | InvalidInput]:
        """Return the texts, or what is wrong with them."""

    def _is_partial(self, _options: O) -> bool:
        return False

    @abstractmethod
    def _location_of(self, index: int) -> Location: ...

    @abstractmethod
    def _wrap(self, predictions: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the JSON of a response."""


class PredictEndpoint(_Endpoint[PredictRequest]):
    """Predicts one text."""

    routes = ("/predict", "/models/{name}/predict")
    model = PredictRequest

    def _max_bytes(self, limits: Limits) -> int:
        # The longest JSON of one text: a character may be written as two escapes of six bytes.
        return min(limits.max_body_bytes, 12 * limits.max_text_chars + 1024)

    def _texts(self, options: PredictRequest) -> list[str]:
        return [options.text]

    def _location_of(self, _index: int) -> Location:
        return ("body", "text")

    def _wrap(self, predictions: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return predictions[0]


class PredictBatchEndpoint(_Endpoint[BatchRequest | PartialBatchRequest]):
    """Predicts a list of texts. The list is admitted or refused as a whole."""

    routes = ("/predict/batch", "/models/{name}/predict/batch")
    model = BatchRequest

    def _form(self, limits: Limits) -> Form:
        return replace(super()._form(limits), list_field="texts", max_texts=limits.max_batch_texts)

    def _validate(self, value: Any) -> BatchRequest | PartialBatchRequest:
        if isinstance(value, dict) and value.get("partial") is True:
            return validate(PartialBatchRequest, value)
        return validate(BatchRequest, value)

    def _texts(self, options: BatchRequest | PartialBatchRequest) -> Sequence[Text | InvalidInput]:
        if len(options.texts) > self._limits.max_batch_texts:
            raise TextTooLong(f"the list has more than {self._limits.max_batch_texts} texts", ("body", "texts"))
        if options.explain and len(options.texts) > MAX_EXPLAINED:
            raise TextTooLong(f"at most {MAX_EXPLAINED} texts of a list can be explained", ("body", "texts"))
        return options.texts if isinstance(options, BatchRequest) else [valid_text(text) for text in options.texts]

    def _is_partial(self, options: BatchRequest | PartialBatchRequest) -> bool:
        return options.partial

    def _location_of(self, index: int) -> Location:
        return ("body", "texts", index)

    def _wrap(self, predictions: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {"predictions": predictions}


def _model_of(context: RequestContext, options: Options) -> str | None:
    """Return the name of the model, which the path or the body says; None for the default one."""
    if not context.path.startswith("/models/"):
        return options.model
    name = context.path.split("/")[2]
    if options.model not in (None, name):
        raise InvalidInput("the path names another model", ("body", "model"))
    return name


def _render(result: Prediction | SentimentError, top_k: int | None) -> dict[str, Any]:
    return result.render(top_k) if isinstance(result, Prediction) else render_failure(result)


def _in_place(
    of_texts: Sequence[T], texts: Sequence[Text | InvalidInput], of_error: Callable[[InvalidInput], T]
) -> list[T]:
    """Return what each text has, in the order of the request, with something in the place of those that are none."""
    rest = iter(of_texts)
    return [of_error(text) if isinstance(text, InvalidInput) else next(rest) for text in texts]
