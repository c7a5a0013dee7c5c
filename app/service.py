"""The spine: normalise → cache → tokenise → schedule → answer. Knows neither HTTP nor which model runs."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

from app.cache import Cache
from app.errors import BackendError, DeadlineExceeded, InvalidInput, TextTooLong
from app.scheduler import Job, Scheduler
from app.text import normalise
from app.tokenizer import Tokenizer
from app.types import Encoding, Prediction

# Normalising and tokenising this many characters takes about half a millisecond; more than that goes to a thread, so
# that the event loop stays free for others.
_INLINE_CHARS = 2000

CacheOutcome = Literal["hit", "miss", "joined"]
_Job = Job[Encoding, Prediction]


@dataclass(frozen=True, slots=True)
class Answer:
    """The predictions of a request, in the order of its texts, and where its time went, in milliseconds."""

    predictions: list[Prediction]
    cache: CacheOutcome
    tokenize_ms: float = 0.0
    queue_ms: float = 0.0
    infer_ms: float = 0.0


class Observer(Protocol):
    """Is told what happens, for metrics."""

    def tokenized(self, seconds: float) -> None:
        """A request's texts were tokenised."""

    def looked_up(self, outcome: CacheOutcome, texts: int) -> None:
        """Texts were known, had to be computed, or joined a computation under way."""

    def predicted(self, label: str, truncated: bool) -> None:
        """A text was given a label."""

    def backend_failed(self) -> None:
        """The model failed on a text."""


class Service:
    """Answers requests. Lives on the event loop."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        scheduler: Scheduler[Encoding, Prediction],
        cache: Cache[bytes, Prediction, _Job],
        observer: Observer,
    ) -> None:
        self._tokenizer = tokenizer
        self._scheduler = scheduler
        self._cache = cache
        self._observer = observer

    @property
    def queue_depth(self) -> int:
        """Texts that wait for the model."""
        return self._scheduler.depth

    @property
    def predicted_wait_ms(self) -> float:
        """How long a text that came now would wait."""
        return self._scheduler.predicted_wait_ms()

    async def predict(self, texts: Sequence[str], *, timeout_ms: float, truncate: bool = True) -> Answer:
        """Predict every text, or raise for all of them.

        `InvalidInput` when a text is blank, `TextTooLong` when it has more tokens than the model reads and `truncate`
        is off; `loc` is the index of that text. `Overloaded`, `NotReady`, `DeadlineExceeded`, `BackendError`.
        """
        begun_s = time.monotonic()
        if sum(map(len, texts)) <= _INLINE_CHARS:
            normalised, keys = _prepare(texts)
        else:
            normalised, keys = await asyncio.to_thread(_prepare, texts)
        if "" in normalised:
            raise InvalidInput("the text has no visible character", (normalised.index(""),))
        known = {key: prediction for key in keys if (prediction := self._cache.get(key))}
        missing = {key: text for key, text in zip(keys, normalised, strict=True) if key not in known}
        self._observer.looked_up("hit", sum(key in known for key in keys))

        encodings: dict[bytes, Encoding] = {}
        if missing:
            encodings = dict(zip(missing, await self._tokenize(list(missing.values())), strict=True))
        tokenized_s = time.monotonic()
        if not truncate:
            for index, key in enumerate(keys):
                if (encodings[key] if key in encodings else known[key]).truncated:
                    message = f"the text has more than the {self._tokenizer.max_tokens} tokens that the model reads"
                    raise TextTooLong(message, (index,))
        if not missing:
            return self._answer([known[key] for key in keys], "hit")

        # From here until every job is joined nothing gives up control, so that no flight is missed or started twice.
        deadline_s = begun_s + timeout_ms / 1000
        jobs = {key: job for key in missing if (job := self._cache.flight(key))}
        fresh = [key for key in missing if key not in jobs]
        self._observer.looked_up("joined", len(jobs))
        self._observer.looked_up("miss", len(fresh))
        if fresh:
            admitted = self._scheduler.submit([(len(encodings[key]), encodings[key]) for key in fresh], deadline_s)
            for key, job in zip(fresh, admitted, strict=True):
                job.on_settled = partial(self._settled, key)
                self._cache.depart(key, job)
                jobs[key] = job
        known.update(zip(jobs, await self._wait(list(jobs.values()), deadline_s), strict=True))

        started_s = max(tokenized_s, min(job.started_s for job in jobs.values()))
        finished_s = max(job.finished_s for job in jobs.values())
        return self._answer(
            [known[key] for key in keys],
            "miss" if fresh else "joined",
            tokenize_ms=(tokenized_s - begun_s) * 1000,
            queue_ms=(started_s - tokenized_s) * 1000,
            infer_ms=(finished_s - started_s) * 1000,
        )

    async def _tokenize(self, texts: list[str]) -> list[Encoding]:
        started_s = time.perf_counter()
        if sum(map(len, texts)) <= _INLINE_CHARS:
            encodings = [self._tokenizer.encode(text) for text in texts]
        else:
            encodings = await asyncio.to_thread(self._tokenizer.encode_many, texts)
        self._observer.tokenized(time.perf_counter() - started_s)
        return encodings

    async def _wait(self, jobs: list[_Job], deadline_s: float) -> list[Prediction]:
        waiters = [job.join(deadline_s) for job in jobs]
        try:
            async with asyncio.timeout(deadline_s - time.monotonic()):
                # gather takes longer than one text needs, but it also sees to the errors of those after the first.
                return [await waiters[0]] if len(waiters) == 1 else await asyncio.gather(*waiters)
        except TimeoutError:
            raise DeadlineExceeded("no answer within the request's time") from None
        finally:
            for waiter, job in zip(waiters, jobs, strict=True):
                if not waiter.done() or waiter.cancelled():
                    waiter.cancel()
                    self._scheduler.leave(job)

    def _settled(self, key: bytes, result: Prediction | Exception | None) -> None:
        self._cache.land(key, result if isinstance(result, Prediction) else None)
        if isinstance(result, BackendError):
            self._observer.backend_failed()

    def _answer(
        self,
        predictions: list[Prediction],
        cache: CacheOutcome,
        *,
        tokenize_ms: float = 0.0,
        queue_ms: float = 0.0,
        infer_ms: float = 0.0,
    ) -> Answer:
        for prediction in predictions:
            self._observer.predicted(prediction.label, prediction.truncated)
        return Answer(predictions, cache, tokenize_ms, queue_ms, infer_ms)


def _prepare(texts: Sequence[str]) -> tuple[list[str], list[bytes]]:
    """Return each text normalised, and its cache key.

    The key is a digest: 16 bytes however long the text is, and no user's words are kept in memory.
    """
    normalised = [normalise(text) for text in texts]
    return normalised, [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in normalised]
