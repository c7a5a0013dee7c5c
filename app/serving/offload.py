"""Work on texts that would hold up the event loop, done in a thread."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..cpu import usable_cores

# Normalising and tokenising this many characters takes about half a millisecond; more than that goes to a thread, so
# that the event loop stays free for others.
INLINE_CHARS = 2000

T = TypeVar("T")


class Offload:
    """Counts the texts that are in threads, until their thread is done with them, even when nobody waits for that."""

    def __init__(self) -> None:
        self.texts = 0
        # No more than can run: each thread keeps memory of its own, and the loop's default has four more than cores.
        self._threads = ThreadPoolExecutor(usable_cores(), thread_name_prefix="texts")

    async def run(self, work: Callable[[Sequence[str]], T], texts: Sequence[str], admit: Callable[[int], object]) -> T:
        """Do work on texts, in a thread when they are long and `admit` does not raise for as many as are in threads."""
        if sum(map(len, texts)) <= INLINE_CHARS:
            return work(texts)
        admit(len(texts) + self.texts)
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, texts)
        self.texts += len(texts)  # not before: there may be no thread to be had
        future.add_done_callback(lambda _: self._done(len(texts)))
        return await asyncio.shield(future)

    def _done(self, texts: int) -> None:
        self.texts -= texts
