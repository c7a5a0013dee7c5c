"""Work on long texts runs in threads, so that it does not block the event loop."""

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from ..cpu import usable_cores
from ..scheduling import NOWHERE, Callers, Elsewhere
from ..types import Text, unpack

# Work on texts within these limits takes at most about five milliseconds, whatever they say.
_SHORT_CHARS, _NOT_ASCII = 2000, 4  # a character outside ASCII counts as four
_SHORT_BYTES = 2000
_SHORT_WORD_BYTES = 48  # the time for a word can grow with the square of its length
_ANY_WORDS_BYTES = 200
_PART_CHARS = 10_000

T = TypeVar("T")
X = TypeVar("X", bound=Text)


def is_short(texts: Sequence[Text]) -> bool:
    """Return whether normalising all of these texts is short enough for the event loop."""
    if sum(map(len, texts)) * _NOT_ASCII <= _SHORT_CHARS:
        return True
    return sum(len(text) if text.isascii() else len(text) * _NOT_ASCII for text in texts) <= _SHORT_CHARS


def is_simple(texts: Collection[Text]) -> bool:
    """Return whether tokenising all of these normalised texts is short enough for the event loop."""
    if sum(map(len, texts)) > _SHORT_BYTES:
        return False
    data = " ".join(map(unpack, texts)).encode()
    if len(data) <= _ANY_WORDS_BYTES:
        return True
    return len(data) <= _SHORT_BYTES and max(map(len, data.split()), default=0) <= _SHORT_WORD_BYTES


def parts(texts: Sequence[X], copies: int = 1) -> Iterator[Sequence[X]]:
    """Divide a list into parts that take a few milliseconds each, if each text is worked on `copies` times."""
    start = chars = 0
    for place, text in enumerate(texts):
        if place > start and chars + copies * len(text) > _PART_CHARS:
            yield texts[start:place]
            start, chars = place, 0
        chars += copies * len(text)
    yield texts[start:]


@dataclass(slots=True)
class _Job:
    work: Callable[[Sequence[Any]], Any]
    texts: Sequence[Text]
    count: int  # of texts, as admission sees them
    chars: int
    caller: str
    result: "asyncio.Future[Any]"


class Offload:
    """Runs work on texts in threads and counts those texts until their thread is done, even if no request waits.

    Callers share the threads by characters, as they share the model by tokens.
    """

    def __init__(self) -> None:
        self._jobs: list[tuple[int, int, _Job]] = []  # a heap, by virtual end
        self._order = itertools.count()
        self._callers = Callers()
        self._total = 0
        self._texts: Counter[str] = Counter()  # by caller
        # One thread per core: each keeps memory of its own, and the loop's default pool has four more than cores.
        self._idle = usable_cores()
        self._threads = ThreadPoolExecutor(self._idle, thread_name_prefix="texts")

    def texts(self, caller: str) -> Elsewhere:
        """Return how many texts have not ended."""
        if not self._total:
            return NOWHERE
        return Elsewhere(self._total, self._texts[caller], self._texts.keys())

    async def run(
        self, work: Callable[[Sequence[X]], list[T]], texts: Sequence[X], caller: str, *, copies: int = 1
    ) -> list[T]:
        """Return what `work` returns for each text. It runs in threads, in the turn of `caller`.

        A list runs in parts, so that others need not wait for all of it. Each text counts as `copies` texts.
        """
        jobs = [self._queue(work, part, caller, copies) for part in parts(texts, copies)]
        self._start()
        return [result for results in await asyncio.gather(*jobs) for result in results]

    def _queue(
        self, work: Callable[[Sequence[X]], list[T]], texts: Sequence[X], caller: str, copies: int
    ) -> "asyncio.Future[list[T]]":
        result = asyncio.get_running_loop().create_future()
        job = _Job(work, texts, copies * len(texts), copies * sum(map(len, texts)), caller, result)
        client = self._callers.find(caller)
        heapq.heappush(self._jobs, (self._callers.charge(client, job.chars), next(self._order), job))
        self._callers.add(client, job.chars)
        self._texts[caller] += job.count
        self._total += job.count
        return job.result

    def _start(self) -> None:
        while self._idle and self._jobs:
            self._callers.now, _, job = heapq.heappop(self._jobs)
            client = self._callers.find(job.caller)
            self._callers.remove(client, job.chars)
            if job.result.done():  # no request waits
                self._callers.refund(client, job.chars)
                self._forget(job)
                continue
            try:
                running = asyncio.get_running_loop().run_in_executor(self._threads, job.work, job.texts)
            except RuntimeError as error:  # no thread could be started
                self._forget(job)
                job.result.set_exception(error)
                continue
            self._idle -= 1
            running.add_done_callback(partial(self._done, job))

    def _done(self, job: _Job, running: "asyncio.Future[Any]") -> None:
        self._idle += 1
        self._forget(job)
        error = running.exception()
        if not job.result.done():  # the request waits
            if error:
                job.result.set_exception(error)
            else:
                job.result.set_result(running.result())
        self._start()

    def _forget(self, job: _Job) -> None:
        self._total -= job.count
        self._texts[job.caller] -= job.count
        if not self._texts[job.caller]:
            del self._texts[job.caller]
