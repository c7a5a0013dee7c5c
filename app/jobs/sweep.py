"""Finds what nobody else takes care of.

Lost jobs, jobs in no queue, jobs that wait for long, expired ones, and files in the store that belong to no job.
"""

import logging
import re
import time
from functools import partial
from itertools import pairwise

from ..logs import log
from . import transitions
from .connection import translated
from .job import PRIORITIES, Job
from .queue import QUEUES, Queues, job_of
from .records import Records
from .store import Store

EVERY_S = 4
_LOCK = "rt-sentiment:sweeping"
_NOT_DELIVERED_S = 5.0  # a process that has changed a job delivers it within this time
_OLD_S = 60.0  # after which a job is served like those of the next priority
_MOVED = 100  # at a time
_TIDYING = "rt-sentiment:tidying"
_TIDY_EVERY_S = 600
_ORPHAN_S = 3600.0  # no upload pauses for so long, and its job follows at once
_JOB_ID = re.compile("[0-9a-f]{24}")
_CHUNK = 1000


class Sweeper:
    """Every worker has one. Every few seconds, one of them sweeps."""

    def __init__(self, records: Records, queues: Queues, store: Store) -> None:
        self._records = records
        self._queues = queues
        self._store = store

    def sweep(self) -> None:
        """Do all of it once, if nobody has within the last seconds. Raises `NotReady`."""
        with translated():
            if not self._records.redis.set(_LOCK, 1, nx=True, px=EVERY_S * 1000 - 500):
                return
        self._recover()
        self._deliver()
        self._raise_old()
        self._forget()
        self._tidy()

    def lose(self, job_id: str, token: str | None = None) -> None:
        """Let somebody else run a job whose process is gone."""
        try:
            job = self._records.change(job_id, partial(transitions.lose, token=token))
        except transitions.Refused:
            return
        log(logging.WARNING, "job lost", job=job.id, attempt=job.attempts, status=job.status)
        if job.status == "pending":
            self._queues.deliver(job)

    def _recover(self) -> None:
        for job_id in self._records.lost():
            self.lose(job_id)

    def _deliver(self) -> None:
        """Deliver jobs whose time has come, and those whose delivery was lost."""
        due = self._records.due(time.time())
        if not due:
            return
        delivered = {job_of(delivery) for name in QUEUES for delivery in self._queues.waiting(name)}
        for job in self._records.get_many(job_id for job_id in due if job_id not in delivered):
            if job and job.status == "pending" and job.updated_at < time.time() - _NOT_DELIVERED_S:
                self._queues.deliver(job)

    def _raise_old(self) -> None:
        """Move jobs that have waited for long to the end of the queue that is served before theirs."""
        for better, worse in pairwise(PRIORITIES):
            deliveries = self._queues.waiting(worse)[:_MOVED]
            for delivery, job in zip(deliveries, self._records.get_many(map(job_of, deliveries)), strict=True):
                if job and job.updated_at > time.time() - _OLD_S:
                    break  # those behind it are younger
                self._queues.withdraw(worse, delivery)
                if job:
                    self._move(job, better)

    def _move(self, job: Job, queue: str) -> None:
        try:
            self._queues.deliver(self._records.change(job.id, partial(transitions.move, queue=queue)))
        except transitions.Refused:  # it is over, or runs
            return

    def _forget(self) -> None:
        for job_id in self._records.expired(time.time()):
            job = self._records.get(job_id)
            if job and not job.is_over:  # it is tried again
                continue
            if job is None or self._records.forget(job):  # unless it has just been tried again
                self._store.delete(job_id)

    def _tidy(self) -> None:
        """Delete what a process has left in the store that died, or lost Redis, before its job was there."""
        with translated():
            if not self._records.redis.set(_TIDYING, 1, nx=True, ex=_TIDY_EVERY_S):
                return
        try:
            folders = [name for name in self._store.folders() if _JOB_ID.fullmatch(name)]
            for start in range(0, len(folders), _CHUNK):
                for name in self._records.unknown(folders[start : start + _CHUNK]):
                    if self._store.changed_at(name) < time.time() - _ORPHAN_S:
                        self._store.delete(name)
                        log(logging.WARNING, "files without a job deleted", job=name)
        except OSError as error:
            log(logging.WARNING, "store not tidied", reason=error.strerror or type(error).__name__)
