"""The process of a worker: it runs jobs until it is told to end, and waits while Redis is away."""

import logging
import socket
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..logs import log
from . import tasks
from .connection import connect
from .monitor import JobsCollector, start_monitor
from .options import JobOptions
from .queue import TASK_MODULE, Queues
from .records import Records
from .scoring import LoadScorer
from .store import open_store
from .sweep import EVERY_S, Sweeper

if TYPE_CHECKING:
    from .worker import Worker

_TTL_S = 20  # RQ waits 15 s less than this for a job before it looks at the rest
_BEAT_EVERY_S = 5
_LONGEST_PAUSE_S = 30.0

_SILENT_S = 120.0  # a worker that has not gone round its loop for so long hangs


class _Pulse:
    """When the loop of the worker last went round."""

    def __init__(self) -> None:
        self._beat_s = time.monotonic()

    def beat(self) -> None:
        self._beat_s = time.monotonic()

    def is_alive(self) -> bool:
        return time.monotonic() - self._beat_s < _SILENT_S


def work(
    options: JobOptions,
    queues: Sequence[str],
    load_scorer: LoadScorer,
    listener: socket.socket | None = None,
) -> None:
    """Run jobs from these queues, in their order, until SIGTERM or SIGINT. Answer probes and scrapes on `listener`."""
    tasks.context = tasks.Context(options, load_scorer)
    sys.modules[TASK_MODULE] = tasks
    for name in ("rq.worker", "rq.job"):
        logging.getLogger(name).setLevel(logging.ERROR)
    pulse = _Pulse()
    if listener:
        records = Records(connect(options))
        start_monitor(listener, JobsCollector(records, Queues(records.redis)), pulse.is_alive)
    pause_s = 1.0
    while True:
        pulse.beat()
        started_s = time.monotonic()
        worker = _start(options, queues, pulse)
        if worker:
            worker.work(logging_level=None)
            if worker.is_stopped:
                return
        # Redis is not there, or was not for too long.
        pause_s = 1.0 if time.monotonic() - started_s > _LONGEST_PAUSE_S else min(_LONGEST_PAUSE_S, 2 * pause_s)
        time.sleep(pause_s)


def _start(options: JobOptions, queues: Sequence[str], pulse: "_Pulse") -> "Worker | None":
    from redis.exceptions import RedisError
    from rq.serializers import JSONSerializer

    from .worker import Worker

    redis = connect(options)
    ours = Queues(redis)
    try:
        worker = Worker(
            [ours.queue(name) for name in queues],
            connection=redis,
            serializer=JSONSerializer,
            worker_ttl=_TTL_S,
            job_monitoring_interval=_BEAT_EVERY_S,
            maintenance_interval=EVERY_S,
            log_job_description=False,
            on_beat=pulse.beat,
            sweeper=Sweeper(Records(connect(options)), ours, open_store(options.job_store)),
        )
    except RedisError as error:
        log(logging.WARNING, "redis unreachable", reason=type(error).__name__)
        return None
    log(logging.INFO, "worker started", worker=worker.name, queues=list(queues))
    return worker
