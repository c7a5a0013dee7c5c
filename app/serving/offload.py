"""Work on long texts runs in threads, so that it does not block the event loop."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from ..cpu import usable_cores

# Work on texts within these limits takes at most about five milliseconds, whatever they say.
_SHORT_CHARS, _NOT_ASCII = 2000, 4  # a character outside ASCII counts as four
_SHORT_BYTES = 2000
_SHORT_WORD_BYTES = 48  # the time for a word can grow with the square of its length
_ANY_WORDS_BYTES = 200
_SLICE_CHARS = 32_000

T = TypeVar("T")


def is_short(texts: Sequence[str]) -> bool:
    """Return whether normalising all of these texts is short enough for the event loop."""
    if sum(map(len, texts)) * _NOT_ASCII <= _SHORT_CHARS:
        return True
    return sum(len(text) if text.isascii() else len(text) * _NOT_ASCII for text in texts) <= _SHORT_CHARS


def is_simple(texts: Collection[str]) -> bool:
    """Return whether tokenising all of these normalised texts is short enough for the event loop."""
    if sum(map(len, texts)) > _SHORT_BYTES:
        return False
    data = " ".join(texts).encode()
    if len(data) <= _ANY_WORDS_BYTES:
        return True
    return len(data) <= _SHORT_BYTES and max(map(len, data.split()), default=0) <= _SHORT_WORD_BYTES


def slices(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts in slices of at most 32 000 characters, or of one text."""
    part: list[str] = []
    chars = 0
    for text in texts:
        if part and chars + len(text) > _SLICE_CHARS:
            yield part
            part, chars = [], 0
        part.append(text)
        chars += len(text)
    if part:
        yield part


class Offload:
    """Runs work on texts in threads and counts those texts until their thread is done, even if no request waits."""

    def __init__(self) -> None:
        self.texts = 0
        # One thread per core: each keeps memory of its own, and the loop's default pool has four more than cores.
        self._threads = ThreadPoolExecutor(usable_cores(), thread_name_prefix="texts")

    async def run(
        self, work: Callable[[Sequence[str]], list[T]], texts: Sequence[str], admit: Callable[[int], object]
    ) -> list[T]:
        """Run `work` on `texts` in a thread, unless `admit` raises for the number of texts in all threads.

        A long list is done in slices, between which others have their turn. A slice that nobody waits for any more is
        not begun.
        """
        admit(len(texts) + self.texts)
        results: list[T] = []
        rest = len(texts)
        self.texts += rest
        try:
            for part in slices(texts):
                future = asyncio.get_running_loop().run_in_executor(self._threads, work, part)
                future.add_done_callback(partial(self._done, len(part)))
                rest -= len(part)
                results += await asyncio.shield(future)
        finally:
            self.texts -= rest
        return results

    def _done(self, texts: int, _: object) -> None:
        self.texts -= texts
