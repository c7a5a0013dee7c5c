"""From a line of a stream to its place: validated, counted, and queued. It waits for room instead of being refused."""

import json
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from pydantic import ValidationError

from ..access import RateLimit
from ..errors import InvalidInput, NotReady, Overloaded, SentimentError, TextTooLong
from ..serving import Answer, Lifecycle, Pending, Query
from .auth import caller_of
from .bodies import SMALL_BYTES, Bodies
from .checks import Check
from .context import RequestContext, sticky_id
from .errors import unexpected
from .form import Form
from .invalid import BodyInvalid
from .parser import HALF_PAIR, SURROGATE, BodyParser
from .places import Outcome, Place, memory_of, outcome_of, render_id
from .request import validate
from .schemas import Options
from .stream_schemas import StreamLine, is_line_id

_SHORT_S, _LONG_S = 0.05, 1.0  # how long to wait for room before looking again
_MAX_RATE_WAIT_S = 300  # for a rate limit; the stream ends if its client would have to wait longer
_PATIENCE = 10  # times the time limit of a text: how long it waits for room in the queue


class Stopped(Exception):
    """The server ends the stream; its last line has this status and this detail."""


class Observer(Protocol):
    """Counts what happens."""

    def stream_changed(self, streams: int) -> None:
        """So many more streams are open."""

    def line_answered(self, status: int) -> None:
        """A line of a stream was answered."""


@dataclass(frozen=True, slots=True)
class Services:
    """What all streams use. `authentication` is the check of API keys, which is repeated while a stream runs.

    `idle_s` is how long to wait for the next line, and `max_wait_ms` the predicted wait up to which texts are queued.
    """

    lifecycle: Lifecycle
    bodies: Bodies
    rate: RateLimit | None
    observer: Observer
    authentication: Check | None
    idle_s: float
    max_wait_ms: float
    form: Form
    max_line_bytes: int


@dataclass(frozen=True, slots=True)
class LineOptions:
    """How to answer each line: the options of /predict, and how long it may take, and wait for room before that."""

    options: Options
    timeout_ms: float
    patience_s: float


class Intake:
    """Takes the lines of one stream, one after the other.

    `pause` waits until the stream has made progress, but at most so many seconds.
    """

    def __init__(
        self,
        services: Services,
        context: RequestContext,
        options: LineOptions,
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self._lifecycle = services.lifecycle
        self._bodies = services.bodies
        self._form = services.form
        self._max_wait_ms = services.max_wait_ms
        self._too_long = TextTooLong(f"the line is larger than {services.max_line_bytes} bytes")
        self._rate = services.rate if context.quota else None  # no quota: its storage is unreachable
        self._context = context
        self._caller = caller_of(context)
        self._sticky_id = sticky_id(context)
        self._options = options
        self._pause = pause
        self._counted = 1  # lines that the rate limit has counted already: the request counts as one

    async def take(self, line: bytes | None) -> Place:
        """Return the place of a line; None is one that is too long. Raises `Stopped`."""
        id_, text = None, None
        outcome: Pending | Outcome = self._too_long
        give_up_s = time.monotonic() + self._options.patience_s
        try:
            if line is not None:
                id_, text = await self._parse(line)
            await self._count(give_up_s)
            if isinstance(text, str):
                outcome = await self._begin(text, give_up_s)
            elif text is not None:
                outcome = text
        except SentimentError as error:
            outcome = error
        except Stopped:
            raise
        except Exception as error:  # a bug: the other lines must not suffer from it
            unexpected(self._context.request_id, error)
            outcome = SentimentError("the server failed to answer this line")
        return Place(render_id(id_), memory_of(line), outcome)

    async def _parse(self, line: bytes) -> tuple[object, str | BodyInvalid | InvalidInput]:
        """Return the id and the text of a line, or what is wrong with it."""
        if len(line) <= SMALL_BYTES:
            try:
                valid = StreamLine.model_validate_json(line)
                return valid.id, valid.text
            except ValidationError:
                pass
        parser = BodyParser(self._form)
        try:
            await self._bodies.parse(parser, line, is_last=True)
            valid = validate(StreamLine, parser.value)
        except BodyInvalid as error:
            return _valid_id(parser.value), _half_pair(line) or error
        return valid.id, valid.text

    async def _count(self, give_up_s: float) -> None:
        """Count a line towards the rate limit; wait while the caller is over it. Raises `RateLimited` and `Stopped`."""
        if self._counted:
            self._counted -= 1
            return
        while self._rate:
            quota = await self._rate.take(self._caller, 1)
            if quota is None or quota.passed:
                return
            error = self._rate.refusal(quota)
            if quota.reset_s > _MAX_RATE_WAIT_S and give_up_s == math.inf:
                raise Stopped(429, str(error))
            await self._wait(error, quota.reset_s, give_up_s)

    async def _begin(self, text: str, give_up_s: float) -> Pending | Outcome:
        """Queue a text once there is room. Raises `SentimentError`."""
        options, limit_ms = self._options.options, self._options.timeout_ms
        now_s, timeout_s = time.monotonic(), limit_ms / 1000
        full_s, degraded_s = min(give_up_s, now_s + _PATIENCE * timeout_s), min(give_up_s, now_s + timeout_s)
        while True:
            try:
                version = self._lifecycle.serving(options.model, self._sticky_id)
                if (ahead_ms := version.predicted_wait_ms(self._caller) - self._max_wait_ms) > 0:
                    error = Overloaded("the queue is too long; try again later", ahead_ms / 1000)
                    await self._wait(error, ahead_ms / 1000, full_s)
                    continue  # meanwhile another version may have taken its place
                query = Query(
                    [text],
                    timeout_ms=limit_ms,
                    truncate=options.truncate,
                    long_text=options.long_text,
                    caller=self._caller,
                    uses_shared_cache=False,
                    request=self._context.trace if self._context.trace and self._context.trace.is_sampled else None,
                )
                service = version.enter()
                try:
                    answer = await service.begin(query)
                finally:
                    version.leave()
                return outcome_of(answer) if isinstance(answer, Answer) else answer
            except Overloaded as error:
                await self._wait(error, error.retry_after_s, full_s)
            except NotReady as error:
                await self._wait(error, error.retry_after_s, degraded_s)

    async def _wait(self, error: SentimentError, seconds: float, give_up_s: float) -> None:
        """Wait until there may be room; raise the error if that takes too long."""
        if time.monotonic() >= give_up_s:
            raise error
        await self._pause(min(_LONG_S, max(_SHORT_S, seconds)))


def _half_pair(line: bytes) -> InvalidInput | None:
    """Return the error of a text with an incomplete surrogate pair, which JSON allows and UTF-8 does not."""
    if not SURROGATE.search(line):
        return None
    try:
        text = str(json.loads(line)["text"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return InvalidInput(HALF_PAIR) if any("\ud800" <= char <= "\udfff" for char in text) else None


def _valid_id(value: object) -> object:
    """Return the id of a line that is not valid, if it can be read."""
    id_ = value.get("id") if isinstance(value, dict) else None
    return id_ if is_line_id(id_) else None
