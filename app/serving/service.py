"""The spine: normalise → cache → tokenise → schedule → answer. Knows neither HTTP nor which model runs."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from ..errors import BackendError, DeadlineExceeded, InvalidInput, TextTooLong
from ..inference.text import normalise
from ..inference.tokenizer import Tokenizer
from ..inference.windows import average
from ..scheduling.item import Job
from ..scheduling.scheduler import Scheduler
from ..scheduling.waiting import Waiting
from ..types import Answer, CacheOutcome, Encoding, Prediction
from .cache import Cache, key_of, key_of_part
from .offload import INLINE_CHARS, Offload

T = TypeVar("T")

_Job = Job[Encoding, Prediction]


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a request asks for beside its texts, and who asks."""

    deadline_s: float
    truncate: bool
    window: bool
    caller: str | None


class Observer(Protocol):
    """Is told what happens, for metrics."""

    def tokenized(self, seconds: float) -> None:
        """A request's texts were tokenised."""

    def looked_up(self, outcome: CacheOutcome, texts: int) -> None:
        """Texts were known, had to be computed, or joined a computation under way."""

    def predicted(self, label: str, confidence: float, truncated: bool) -> None:
        """A text was given a label, by the model or from the cache."""

    def windowed(self, texts: int) -> None:
        """Texts were scored by several windows, having more tokens than the model reads."""

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
        *,
        max_text_chars: int,
    ) -> None:
        self._max_text_chars = max_text_chars
        self._offload = Offload()
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

    def close(self) -> None:
        """Take nothing any more; whoever still waits gets `NotReady`."""
        self._scheduler.close()

    def at_once(
        self, text: str, *, timeout_ms: float, truncate: bool = True, window: bool = False, caller: str | None = None
    ) -> Answer | None:
        """Answer one text from the cache, or refuse it, without the timers that waiting needs; None to say: `predict`.

        Raises as `predict` does.
        """
        if len(text) > min(INLINE_CHARS, self._max_text_chars) or not (normalised := normalise(text)):
            return None
        prediction = self._cache.get(key := key_of(normalised))
        if prediction is None and len(normalised) <= self._max_text_chars:
            terms = _Terms(time.monotonic() + timeout_ms / 1000, truncate, window, caller)
            if self._is_fresh(key, terms):
                self._scheduler.admit(1 + self._offload.texts, terms.deadline_s, caller)
        if prediction is None or (prediction.truncated and (window or not truncate)):
            return None
        self._observer.looked_up("hit", 1)
        self._observer.predicted(prediction.label, prediction.confidence, prediction.truncated)
        return Answer([prediction], "hit")

    async def predict(
        self,
        texts: Sequence[str],
        *,
        timeout_ms: float,
        truncate: bool = True,
        window: bool = False,
        caller: str | None = None,
    ) -> Answer:
        """Predict every text, or raise for all of them.

        Of a text with more tokens than the model reads only the beginning counts or, when `window` is on, all of it:
        its windows are scored like the texts of a list, and their scores averaged. Callers with names take turns.

        `InvalidInput` when a text is blank; `TextTooLong` when it has too many characters, or more tokens than the
        model reads while `truncate` and `window` are off; `loc` is the index of that text. `Overloaded`, `NotReady`,
        `DeadlineExceeded`, `BackendError`.
        """
        terms = _Terms(time.monotonic() + timeout_ms / 1000, truncate, window, caller)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                return await self._predict(texts, terms)
        except TimeoutError:
            raise DeadlineExceeded("no answer within the request's time") from None

    async def _predict(self, texts: Sequence[str], terms: _Terms) -> Answer:
        begun_s = time.monotonic()
        self._check_characters(texts)
        normalised, keys = await self._apart(_prepare, texts, terms)
        if "" in normalised:
            raise InvalidInput("the text has no visible character", (normalised.index(""),))
        self._check_characters(normalised)  # a single character may stand for many
        known = {
            key: prediction
            for key in keys
            if (prediction := self._cache.get(key)) and not (terms.window and prediction.truncated)
        }
        missing = {key: text for key, text in zip(keys, normalised, strict=True) if key not in known}

        encodings, windows = await self._tokenize(missing, terms) if missing else ({}, {})
        tokenized_s = time.monotonic()
        if not (terms.truncate or terms.window):
            for index, key in enumerate(keys):
                if (encodings[key] if key in encodings else known[key]).truncated:
                    message = f"the text has more than the {self._tokenizer.max_tokens} tokens that the model reads"
                    raise TextTooLong(message, (index,))

        # From here until every job is joined nothing gives up control, so that no flight is missed or started twice.
        # What landed in the cache while this request was tokenised is known by now.
        known |= {key: prediction for key in encodings if (prediction := self._cache.get(key))}
        jobs = {key: job for key in encodings if key not in known and (job := self._cache.flight(key))}
        fresh = {
            key: Job(len(encoding), encoding, partial(self._settled, key))
            for key, encoding in encodings.items()
            if key not in known and key not in jobs
        }
        with Waiting(self._scheduler, terms.deadline_s) as waiting:
            # First: to begin others may be what ends a flight that only a list without hope waits for.
            waiting.join(jobs.values())
            if fresh:
                self._scheduler.submit(sorted(fresh.values(), key=_length), terms.deadline_s, terms.caller)
                waiting.join(fresh.values())
                for key, job in fresh.items():
                    self._cache.depart(key, job)
            whole = known.keys() | {key for key, parts in windows.items() if known.keys() >= set(parts)}
            hits = sum(map(whole.__contains__, keys))
            misses = len(fresh.keys() & missing.keys())
            misses += sum(not fresh.keys().isdisjoint(parts) for parts in windows.values())
            self._observer.looked_up("hit", hits)
            self._observer.looked_up("miss", misses)
            self._observer.looked_up("joined", len(keys) - hits - misses)
            jobs |= fresh
            if jobs:
                known.update(zip(jobs, await waiting.results(), strict=True))

        for key, parts in windows.items():
            known[key] = average([known[part] for part in parts], [len(encodings[part]) for part in parts])
        if windows:
            self._observer.windowed(sum(key in windows for key in keys))
        predictions = [known[key] for key in keys]
        for prediction in predictions:
            self._observer.predicted(prediction.label, prediction.confidence, prediction.truncated)
        if not jobs:
            return Answer(predictions, "hit")
        started_s = max(tokenized_s, min(job.started_s for job in jobs.values()))
        finished_s = max(job.finished_s for job in jobs.values())
        return Answer(
            predictions,
            "miss" if fresh else "joined",
            tokenize_ms=(tokenized_s - begun_s) * 1000,
            queue_ms=(started_s - tokenized_s) * 1000,
            infer_ms=(finished_s - started_s) * 1000,
        )

    def _check_characters(self, texts: Sequence[str]) -> None:
        for index, text in enumerate(texts):
            if len(text) > self._max_text_chars:
                raise TextTooLong(f"over {self._max_text_chars} characters", (index,))

    async def _tokenize(
        self, texts: Mapping[bytes, str], terms: _Terms
    ) -> tuple[dict[bytes, Encoding], dict[bytes, list[bytes]]]:
        """Return the encodings of texts, by key, and of each text that is read in windows the keys of those."""
        if fresh := sum(self._is_fresh(key, terms) for key in texts):  # refused before it has cost anything
            self._scheduler.admit(fresh + self._offload.texts, terms.deadline_s, terms.caller)
        started_s = time.perf_counter()
        encodings: dict[bytes, Encoding] = {}
        windows: dict[bytes, list[bytes]] = {}
        if terms.window:
            found = await self._apart(self._tokenizer.encode_windows, list(texts.values()), terms)
            for key, parts in zip(texts, found, strict=True):
                if len(parts) > 1:
                    windows[key] = [key_of_part(key, place) for place in range(len(parts))]
                encodings.update(zip(windows.get(key, [key]), parts, strict=True))
        else:
            whole = await self._apart(self._tokenizer.encode_many, list(texts.values()), terms)
            encodings.update(zip(texts, whole, strict=True))
        self._observer.tokenized(time.perf_counter() - started_s)
        return encodings, windows

    def _is_fresh(self, key: bytes, terms: _Terms) -> bool:
        """Whether nothing of a text is known or under way, as far as can be told before it is tokenised."""
        part = key_of_part(key, 0)
        parts_known = terms.window and bool(self._cache.flight(part) or self._cache.get(part))
        return self._cache.flight(key) is None and not parts_known

    async def _apart(self, work: Callable[[Sequence[str]], T], texts: Sequence[str], terms: _Terms) -> T:
        """Texts in threads count towards admission as if they were queued."""
        admit = partial(self._scheduler.admit, deadline_s=terms.deadline_s, caller=terms.caller)
        return await self._offload.run(work, texts, admit)

    def _settled(self, key: bytes, result: Prediction | Exception | None) -> None:
        self._cache.land(key, result if isinstance(result, Prediction) else None)
        if isinstance(result, BackendError):
            self._observer.backend_failed()


def _prepare(texts: Sequence[str]) -> tuple[list[str], list[bytes]]:
    """Return each text normalised, and its cache key."""
    normalised = [normalise(text) for text in texts]
    return normalised, [key_of(text) for text in normalised]


def _length(job: _Job) -> int:
    """By which the texts of a request take their turns: like ones share batches, and rows, with nothing left over."""
    return job.tokens
