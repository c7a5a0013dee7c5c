"""In every order of events, each request gets exactly one answer, and the right one.

Hypothesis generates arrivals, cancellations, ends of batches, failures and shutdown. There are no threads: a batch runs
when the script says so.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BackendError, DeadlineExceeded, NotReady, Overloaded, SentimentError
from tests.support.bench import Bench, serving

BAD = 4  # texts with this number of words fail

texts = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 8)), min_size=1, max_size=12)
callers = st.sampled_from(["", "one", "two"])
arrivals = st.tuples(
    st.just("predict"), texts, callers, st.booleans(), st.sampled_from([1e6, 1e6, 0.05]), st.booleans()
)
steps = st.one_of(
    arrivals,
    arrivals,
    st.tuples(st.just("finish"), st.integers(0, 3)),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("yield"), st.integers(1, 3)),
    st.tuples(st.just("close")),
)


class FakeThreads:
    """Takes the place of the thread pool: keeps each batch until `finish` runs it."""

    def __init__(self) -> None:
        self.batches: list[Callable[[], None]] = []

    def submit(self, work: Callable[..., None], *args: Any) -> None:
        self.batches.append(lambda: work(*args))

    def finish(self, number: int) -> None:
        if self.batches:
            self.batches.pop(number % len(self.batches))()

    def shutdown(self, *, wait: bool) -> None:
        """Do nothing: there are no threads."""


class Request:
    """A request whose outcome is checked."""

    def __init__(
        self, bench: Bench, words: list[tuple[int, int]], caller: str, window: bool, ms: float, partial: bool
    ) -> None:
        self._lengths = [length for _, length in words]
        self._in_a_hurry = ms < 1
        self._partial = partial
        self.is_cancelled = False
        spelled = [" ".join([f"w{word}"] * length) for word, length in words]
        long_text = "window" if window else "truncate"
        work = bench.predict(*spelled, timeout_ms=ms, long_text=long_text, caller=caller, partial=partial)
        self.task = asyncio.ensure_future(work)

    def cancel(self) -> None:
        self.is_cancelled |= not self.task.done()
        self.task.cancel()

    def check(self, *, closed: bool) -> None:
        assert self.task.done()
        if self.task.cancelled():
            assert self.is_cancelled
            return
        error = self.task.exception()
        if error is None:
            failed = [isinstance(each, BackendError) for each in self.task.result().results]
            assert failed == [length == BAD for length in self._lengths]
            assert [each.label for each in self.task.result().predictions] == [
                str(length) for length in self._lengths if length != BAD
            ]
            assert self._partial or BAD not in self._lengths
        else:
            allowed: list[type[SentimentError]] = [Overloaded]
            allowed += [BackendError] if BAD in self._lengths and not self._partial else []
            allowed += [DeadlineExceeded] if self._in_a_hurry else []
            allowed += [NotReady] if closed else []
            assert isinstance(error, tuple(allowed)), error


async def play(script: list[Any], entries: int, skips_padding: bool) -> None:
    async with serving(entries=entries, skips_padding=skips_padding, max_batch_size=3, max_queue_texts=30) as bench:
        bench.failing = {BAD}
        scheduler = bench.service._scheduler
        scheduler._executor._threads.shutdown()
        threads = FakeThreads()
        scheduler._executor._threads = threads  # type: ignore[assignment]
        requests: list[Request] = []
        closed = False
        for step, *details in script:
            if step == "predict":
                requests.append(Request(bench, *details))
                await asyncio.sleep(0)
            elif step == "cancel" and requests:
                requests[details[0] % len(requests)].cancel()
            elif step == "finish":
                threads.finish(details[0])
            elif step == "yield":
                for _ in range(details[0]):
                    await asyncio.sleep(0)
            elif step == "close":
                bench.scheduler.close()
                closed = True
        for _ in range(1000):
            if all(request.task.done() for request in requests) and not threads.batches:
                break
            threads.finish(0)
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # the last batch may have had no request left, but must end as well
        for request in requests:
            request.check(closed=closed)
            with contextlib.suppress(asyncio.CancelledError):
                request.task.exception()
        assert bench.cache._in_flight == {}
        assert bench.scheduler.depth == 0
        assert bench.service.predicted_wait_ms() == 0
        callers = scheduler._queue.callers
        assert len(callers) == callers._work == len(callers._levels) == 0
        assert scheduler._queue.backlog_ms() == 0


@settings(max_examples=300)
@given(script=st.lists(steps, max_size=40), entries=st.sampled_from([0, 3, 100]), skips_padding=st.booleans())
def test_each_request_gets_exactly_one_answer_and_the_right_one(
    script: list[Any], entries: int, skips_padding: bool
) -> None:
    asyncio.run(play(script, entries, skips_padding))
