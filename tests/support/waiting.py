"""Wait for a condition with a deadline, so that tests need no fixed sleeps."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

T = TypeVar("T")

# After this time a test fails because something hangs. No test depends on its length, so it fits a machine on which
# every step takes many times as long.
HANG_S = 300.0


def until(
    condition: Callable[[], T],
    timeout_s: float = HANG_S,
    *,
    interval_s: float = 0.02,
    on_timeout: Callable[[], object] = lambda: "the condition did not become true in time",
) -> T:
    """Call `condition` until it returns something true, and return that.

    After `timeout_s` the test fails, and its message is what `on_timeout` returns.
    """
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, on_timeout()
        time.sleep(interval_s)
    return value


async def async_until(condition: Callable[[], T | Awaitable[T]], timeout_s: float = HANG_S) -> T:
    """Like `until`, for conditions that other tasks of the event loop bring about, or that must be awaited."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return cast("T", value)
        assert time.monotonic() < deadline_s, "the condition did not become true in time"
        await asyncio.sleep(0.001)
