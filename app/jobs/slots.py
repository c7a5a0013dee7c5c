"""Several jobs at a time: a process for each slot, and this one, which watches over them and runs none."""

import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from ..logs import log, log_exception

_SIGNALS = {signal.SIGTERM, signal.SIGINT}
_PAUSE_S = 1.0  # before a process is replaced


class Slots:
    """Runs `target(number)` in a process for each slot, until SIGTERM or SIGINT. One that ends before is replaced."""

    def __init__(self, count: int, target: Callable[[int], object]) -> None:
        self._target = target
        self._free = [*range(count)]
        self._running: dict[int, int] = {}
        self._is_stopping = False

    def run(self) -> None:
        """Return when all processes have ended after a signal, which each of them gets."""
        for number in _SIGNALS:
            signal.signal(number, self._stop)
        self._fill()
        while self._running:
            process, status = os.wait()
            self._free.append(self._running.pop(process))
            if not self._is_stopping:
                log(logging.WARNING, "slot ended", pid=process, status=os.waitstatus_to_exitcode(status))
                time.sleep(_PAUSE_S)
            self._fill()

    def _fill(self) -> None:
        # A signal comes before or after all of this, so no process is left out, and none has our handler.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            while self._free and not self._is_stopping:
                number = self._free.pop()
                process = os.fork()
                if not process:
                    self._be(number)
                self._running[process] = number
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _be(self, number: int) -> NoReturn:
        status = 1
        try:
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._target(number)
            status = 0
        except SystemExit:
            status = 0
        except Exception as error:
            log_exception("slot failed", error)
        finally:
            os._exit(status)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True
        for process in self._running:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(process, signal.SIGTERM)


def end_with_parent() -> Callable[[], None]:
    """Return a function that tells this process to end, once, if the one that has started it is gone.

    In processes that this one starts, it does nothing.
    """
    process, parent, is_told = os.getpid(), os.getppid(), False

    def check() -> None:
        nonlocal is_told
        if os.getpid() == process and os.getppid() != parent and not is_told:
            is_told = True
            os.kill(process, signal.SIGTERM)

    return check
