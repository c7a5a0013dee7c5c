"""Explains the predictions of a request. Variants of its texts run as any other texts do, in a few rounds."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from ..errors import BackendError
from ..types import Answer, Prediction, unpack
from .explain import Explainer
from .offload import is_short
from .preparation import Preparation
from .query import Query

T = TypeVar("T")


async def explain_answer(
    query: Query,
    answer: Answer,
    deadline_s: float,
    preparation: Preparation,
    predict: Callable[[Query], Awaitable[Answer]],
) -> Answer:
    """Return the answer to a query with an explanation of each prediction; `predict` answers queries for variants.

    Raises `Overloaded`, `NotReady`, `DeadlineExceeded` and, unless the query is partial, `BackendError`.
    """
    asked = [unpack(text) for text in query.texts]
    explainers = {
        text: Explainer(text, result)
        for text, result in zip(asked, answer.results, strict=True)
        if isinstance(result, Prediction)
    }
    failures: dict[str, BackendError] = {}

    async def each(work: Callable[[Explainer], T]) -> dict[str, T]:
        texts = [*explainers]
        # What the work costs, and what admission has to expect next, is that of the variants.
        copies = max((max(1, explainer.room) for explainer in explainers.values()), default=1)
        results = await preparation.run(
            lambda part: [work(explainers[text]) for text in part],
            texts,
            query,
            deadline_s,
            here=is_short(texts * copies),
            copies=copies,
        )
        return dict(zip(texts, results, strict=True))

    while any((variants := await each(Explainer.next_variants)).values()):
        texts = [variant for of_text in variants.values() for variant in of_text]
        left_ms = (deadline_s - time.monotonic()) * 1000
        predicted = await predict(
            replace(query, texts=texts, timeout_ms=left_ms, truncate=True, partial=True, are_variants=True)
        )
        results = iter(predicted.results)
        for text, of_text in variants.items():
            result_of = [next(results) for _ in of_text]
            if failed := [result for result in result_of if isinstance(result, BackendError)]:
                failures[text] = failed[0]
                del explainers[text]
            else:
                explainers[text].observe([result if isinstance(result, Prediction) else None for result in result_of])
    weights = await each(Explainer.weights)
    if failures and not query.partial:
        place = next(place for place, text in enumerate(asked) if text in failures)
        raise BackendError(str(failures[asked[place]]), query.location_of(place))
    return answer._replace(
        results=[failures.get(text, result) for text, result in zip(asked, answer.results, strict=True)],
        explanations=[weights.get(text) for text in asked],
    )
