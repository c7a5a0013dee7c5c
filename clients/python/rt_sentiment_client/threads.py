"""An event loop and an iterable in threads of their own, with which `Client` runs a stream."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")

# How many items are read before they are taken.
_AHEAD = 16


class EventLoopThread:
    """Runs coroutines in another thread. Python does not wait for it at its end."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rt-sentiment-client-stream", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for the result of a coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """Stop the loop."""
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def read_in_thread(items: Iterable[T]) -> AsyncIterator[T]:
    """Read an iterable, which may block, in a thread. The thread ends with the next item if nobody waits any more."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[T] | Exception | None] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    abandoned = threading.Event()

    def put(item: tuple[T] | Exception | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def read() -> None:
        try:
            for item in items:
                room.acquire()
                if abandoned.is_set():
                    return
                put((item,))
        except Exception as error:  # whatever the iterable raises
            put(error)
        else:
            put(None)

    threading.Thread(target=read, name="rt-sentiment-client-texts", daemon=True).start()
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            room.release()
            yield item[0]
    finally:
        abandoned.set()
        room.release()
