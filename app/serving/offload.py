"""Work on long texts runs in threads, so that it does not block the event loop."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..cpu import usable_cores

# Normalising and tokenising this many characters takes about half a millisecond.
_SHORT_CHARS = 2000

T = TypeVar("T")


def is_short(texts: Iterable[str]) -> bool:
    """Return whether work on all of these texts is short enough for the event loop."""
    return sum(map(len, texts)) <= _SHORT_CHARS


class Offload:
    """Runs work on texts in threads and counts those texts until their thread is done, even if no request waits."""

    def __init__(self) -> None:
        self.texts = 0
        # One thread per core: each keeps memory of its own, and the loop's default pool has four more than cores.
        self._threads = ThreadPoolExecutor(usable_cores(), thread_name_prefix="texts")

    async def run(self, work: Callable[[Sequence[str]], T], texts: Sequence[str], admit: Callable[[int], object]) -> T:
        """Run `work` on `texts` in a thread, unless `admit` raises for the number of texts in all threads."""
        admit(len(texts) + self.texts)
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, texts)
        self.texts += len(texts)  # only now: there may be no thread left to start
        future.add_done_callback(lambda _: self._done(len(texts)))
        return await asyncio.shield(future)

    def _done(self, texts: int) -> None:
        self.texts -= texts
