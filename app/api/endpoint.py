"""What all endpoints that predict have in common: plain ASGI, from a body to a response."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from ..access import RateLimit
from ..errors import BackendError, InvalidInput, Overloaded
from ..serving import Answer, Feedback, Lifecycle, Pending, Query, Version
from .bodies import Bodies, Body
from .context import Header, RequestContext, context_of, sticky_id
from .errors import log_failure
from .feedback import remember
from .rate import count
from .request import unless_disconnected
from .schemas import Limits


class Endpoint(ABC):
    """Reads a request, asks the service and sends the answer. Raises what `errors.respond_to` handles.

    `feedback` remembers the labels of answers; None if nobody can say which ones were right.
    """

    routes: Sequence[str]
    feedback: Feedback | None = None

    def __init__(self, lifecycle: Lifecycle, limits: Limits, bodies: Bodies, rate: RateLimit | None = None) -> None:
        self._lifecycle = lifecycle
        self._limits = limits
        self._bodies = bodies
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._bodies.hold() as body:
            await self._respond(context_of(scope), body, receive, send)

    @abstractmethod
    async def _respond(self, context: RequestContext, body: Body, receive: Receive, send: Send) -> None:
        """Answer a request; its body must be read into `body`."""

    async def _answer(
        self, query: Query, texts: int, context: RequestContext, receive: Receive, model: str | None = None
    ) -> Answer:
        """Answer a query that counts as so many texts, unless the client leaves. The body must have been read.

        `model` is the name of one that is not the default. Raises `NotFound` if there is none.
        """
        version = self._lifecycle.serving(model, sticky_id(context))
        return await self._answer_with(version, query, texts, context, receive)

    async def _answer_with(
        self, version: Version, query: Query, texts: int, context: RequestContext, receive: Receive
    ) -> Answer:
        """Answer a query with one version of a model. See `_answer`."""
        service = version.enter()  # before anything else runs, so that it stays in memory
        self._lifecycle.in_flight += 1
        failed: bool | None = True  # None: refused, or ended by the client, which says nothing about the version
        began_s = time.perf_counter()
        if context.trace and context.trace.is_sampled:
            query.request = context.trace
        try:
            # The middleware has counted one text. It has no quota while the storage is unreachable.
            if self._rate and context.quota and texts > 1:
                await count(self._rate, context, texts, counted=1)
            deadline_s = time.monotonic() + query.timeout_ms / 1000
            answer = await service.begin(query)
            if isinstance(answer, Pending):
                answer = await unless_disconnected(receive, answer.result())
            if query.explain:
                answer = await unless_disconnected(receive, service.explain(query, answer, deadline_s))
            failures = [result for result in answer.results if isinstance(result, BackendError)]
            failed = bool(failures)
        except (InvalidInput, Overloaded, ClientDisconnect, asyncio.CancelledError):
            failed = None
            raise
        finally:
            version.leave()
            if version.statistics and failed is not None:
                version.statistics.answered(time.perf_counter() - began_s, failed=failed)
            self._lifecycle.in_flight -= 1
        self._lifecycle.answered(version, query, answer)
        context.model = service.model
        if context.trace:
            context.trace.answered(answer)
        context.timings_ms = (answer.tokenize_ms, answer.queue_ms, answer.infer_ms)
        if failures:
            log_failure(context.request_id, failures[0], len(failures))
        return answer

    def _remember(self, context: RequestContext, results: Sequence[object]) -> None:
        """Make feedback possible for the results of a request, which must be in the order of its texts."""
        if self.feedback is not None:
            remember(self.feedback, context, results)


def depth_headers(answer: Answer) -> list[Header]:
    """Return the header with the depth of an answer, if its model has exits."""
    if not answer.layers:  # most models have none, and a list may be long
        return []
    deepest = max((prediction.layers for prediction in answer.predictions), default=0)
    return [(b"x-depth", b"%d/%d" % (deepest, answer.layers))] if deepest else []


async def send_answer(
    send: Send, content: bytes, answer: Answer, headers: Sequence[Header] = ((b"content-type", b"application/json"),)
) -> None:
    """Send the response to a query."""
    every = [
        *headers,
        (b"cache-control", b"no-store"),
        (b"x-cache", answer.cache.encode()),
        (b"content-length", b"%d" % len(content)),
        *depth_headers(answer),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": every})
    await send({"type": "http.response.body", "body": content})
