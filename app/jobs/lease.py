"""The right of a process to run a job: renewed while it runs, and checked with each change."""

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from ..errors import NotReady
from . import transitions
from .job import Job
from .records import Records

_BEAT_EVERY_S = 2.0
_LONGEST_PAUSE_S = 5.0
_GIVE_UP_S = 5.0
_RATE_OVER_S = 10.0


class Stopped(Exception):
    """The process must not go on with the job."""


class HandedBack(Stopped):
    """The worker ends, and another one goes on with the job."""


class LeaseLost(Stopped):
    """The job was cancelled, or another process runs it."""


class Lease:
    """Renews the lease of a running job in a thread, with its progress. `on_stop` ends the work that is running.

    While Redis is away, the work goes on, and changes wait until it is back. The job is handed back as soon as
    `is_needed` says that this process is not to run it.
    """

    def __init__(self, records: Records, job: Job, token: str, is_needed: Callable[[], bool] = lambda: True) -> None:
        self._records = records
        self._token = token
        self._is_needed = is_needed
        self.job = job
        self.on_stop: Callable[[], object] = lambda: None
        self._done, self._total = job.done, job.total
        self._stage = job.stage
        self._per_s: float | None = None
        self._samples = [(time.monotonic(), job.done)]
        self._reason: type[Stopped] | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def stop(self, reason: type[Stopped]) -> None:
        """Make the work end with this exception."""
        if self._reason is None:
            self._reason = reason
            self.on_stop()

    def check(self) -> None:
        """Raise `Stopped` if the work must end."""
        if self._reason:
            raise self._reason

    def advance(
        self,
        done: int,
        total: int | None,
        checkpoint: Mapping[str, Any] | None = None,
        *,
        stage: Mapping[str, Any] | None = None,
        per_s: float | None = None,
    ) -> None:
        """Note how far the job is, and its rate if the caller knows it. Returns when a checkpoint is stored."""
        self.check()
        self._done, self._total, self._stage, self._per_s = done, total, stage or {}, per_s
        now_s = time.monotonic()
        self._samples = [sample for sample in self._samples if sample[0] > now_s - _RATE_OVER_S] or self._samples[-1:]
        self._samples.append((now_s, done))
        if checkpoint is not None:
            self._change(checkpoint)

    def keep(self, checkpoint: Mapping[str, Any]) -> None:
        """Store a checkpoint of a job that is as far as before."""
        self.check()
        self._change(checkpoint)

    def end(self, transition: Callable[[Job, float], Job]) -> Job:
        """Apply the last change, however long Redis is away. Raises `LeaseLost` if the job is not ours."""
        self._ended.set()
        self._thread.join()
        return self._apply(transition)

    def _change(self, checkpoint: Mapping[str, Any] | None = None) -> None:
        def note(job: Job, now_s: float) -> Job:
            return transitions.progress(
                job,
                self._token,
                now_s,
                done=self._done,
                total=self._total,
                per_s=self._rate(),
                stage=self._stage,
                checkpoint=checkpoint,
            )

        self.job = self._apply(note)

    def _apply(self, transition: Callable[[Job, float], Job]) -> Job:
        pause_s = 0.1
        give_up_s = time.monotonic() + _GIVE_UP_S
        while True:
            try:
                return self._records.change(self.job.id, transition, lease=self._token)
            except transitions.Refused:
                self.stop(LeaseLost)
                raise LeaseLost from None
            except NotReady:
                if self._reason and time.monotonic() > give_up_s:
                    raise LeaseLost from None  # the worker must end; its lease does too, and another one goes on
                time.sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)

    def _rate(self) -> float:
        if self._per_s is not None:
            return self._per_s
        (since_s, before), (now_s, done) = self._samples[0], self._samples[-1]
        return (done - before) / (now_s - since_s) if now_s > since_s else 0.0

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_EVERY_S):
            if not self._is_needed():
                self.stop(HandedBack)
            try:
                self._records.change(self.job.id, self._renew, lease=self._token)
            except transitions.Refused:
                self.stop(LeaseLost)
                return
            except NotReady:
                continue

    def _renew(self, job: Job, now_s: float) -> Job:
        return transitions.progress(
            job, self._token, now_s, done=self._done, total=self._total, per_s=self._rate(), stage=self._stage
        )
