"""Logs refused API keys, but not a line for each of a flood."""

import logging
import time
from collections.abc import Callable

from ..logs import log
from .context import RequestContext

_LINES = 10
_WINDOW_S = 10.0


class Refusals:
    """Logs the first `_LINES` refusals of each `_WINDOW_S` and, after it, how many were left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun_s = clock()
        self._lines = 0
        self._left_out = 0

    def add(self, context: RequestContext, key_name: str | None, reason: str) -> None:
        """A key was refused; `key_name` is the name of its owner, if the key is known."""
        self.report()
        if self._lines == _LINES:
            self._left_out += 1
            return
        self._lines += 1
        known = {"key": key_name} if key_name else {}
        fields = {"request_id": context.request_id, "client": context.client, "reason": reason, **known}
        log(logging.WARNING, "key refused", **fields)

    def report(self) -> None:
        """Log how many were left out, once the window is over. To be called from time to time."""
        now_s = self._clock()
        if now_s - self._begun_s < _WINDOW_S:
            return
        if self._left_out:
            log(logging.WARNING, "key refused", left_out=self._left_out, seconds=round(now_s - self._begun_s))
        self._begun_s, self._lines, self._left_out = now_s, 0, 0
