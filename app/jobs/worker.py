"""RQ's worker, changed where ours differs: it takes jobs from the queues, and runs each in a child process."""

import logging
import signal
import time
from collections.abc import Callable
from typing import Any

import rq
from redis.exceptions import RedisError
from rq.utils import now

from ..errors import NotReady
from ..logs import log
from .priority import lower_process
from .queue import job_of
from .sweep import Sweeper

_CLEAN_EVERY_S = 60.0


class Worker(rq.Worker):
    """RQ's worker, which stays while Redis is away, and hands its job back when it ends."""

    max_connection_wait_time = 10.0  # between two attempts to reach Redis

    def __init__(self, queues: Any, *, sweeper: Sweeper, on_beat: Callable[[], object], **options: Any) -> None:
        super().__init__(queues, work_horse_killed_handler=self._on_killed, **options)
        self._sweeper = sweeper
        self._cleaned_s = 0.0
        self.is_stopped = False
        self.on_beat = on_beat

    def run_maintenance_tasks(self) -> None:
        self._sweep()
        if time.monotonic() - self._cleaned_s > _CLEAN_EVERY_S:
            self._cleaned_s = time.monotonic()
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        self.last_cleaned_at = now()  # type: ignore[assignment]

    def maintain_heartbeats(self, job: Any, execution: Any) -> None:
        try:
            super().maintain_heartbeats(job, execution)
        except RedisError:
            log(logging.WARNING, "redis unreachable", job=job_of(job.id))
        self._sweep()  # also while all workers are busy

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        self.on_beat()
        super().heartbeat(timeout, pipeline)

    def handle_warm_shutdown_request(self) -> None:
        self.is_stopped = True
        log(logging.INFO, "worker stopping", worker=self.name)
        if self.horse_pid:
            self.kill_horse(signal.SIGTERM)  # which hands the job back: see `tasks`

    def setup_work_horse_signals(self) -> None:
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
        lower_process()

    def _sweep(self) -> None:
        try:
            self._sweeper.sweep()
        except NotReady as error:
            log(logging.WARNING, "jobs not checked", reason=str(error))

    def _on_killed(self, job: Any, _pid: int, _status: int, _usage: Any) -> None:
        try:
            self._sweeper.lose(job_of(job.id), token=job.id)
        except NotReady as error:  # a sweep finds it
            log(logging.WARNING, "jobs not checked", reason=str(error))
