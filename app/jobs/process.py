"""The process of a worker: it runs jobs until it is told to end, and waits while Redis is away."""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from mmap import mmap
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from ..errors import NotReady, SetupError
from ..logs import log
from . import tasks
from .connection import connect
from .monitor import JobsCollector, start_monitor
from .options import JobOptions
from .queue import TASK_MODULE, Queues
from .records import Records
from .scoring import LoadScorer
from .slots import Slots, end_with_parent
from .store import OTHER_STORE, open_store
from .sweep import EVERY_S, Sweeper
from .tasks import TraceJob, untraced

if TYPE_CHECKING:
    from .worker import Worker

_TTL_S = 20  # RQ waits 15 s less than this for a job before it looks at the rest
_BEAT_EVERY_S = 5
_LONGEST_PAUSE_S = 30.0

_SILENT_S = 120.0  # a worker that has not gone round its loop for so long hangs


class _Pulse:
    """When the loop of each slot last went round. It is in memory that their processes share."""

    def __init__(self, slots: int = 1) -> None:
        self._beats_s = memoryview(mmap(-1, 8 * slots)).cast("d")
        for slot in range(slots):
            self.beat(slot)

    def beat(self, slot: int = 0) -> None:
        self._beats_s[slot] = time.monotonic()

    def is_alive(self) -> bool:
        return time.monotonic() - min(self._beats_s) < _SILENT_S


def work(
    options: JobOptions,
    queues: Sequence[str],
    load_scorer: LoadScorer,
    listener: socket.socket | None = None,
    slots: int = 1,
    *,
    trace: TraceJob = untraced,
) -> None:
    """Run jobs from these queues, in their order, until SIGTERM or SIGINT: at most `slots` at a time.

    Answers probes and scrapes on `listener`. `trace`: see `TraceJob`.
    """
    tasks.context = tasks.Context(options, load_scorer, trace)
    sys.modules[TASK_MODULE] = tasks
    for name in ("rq.worker", "rq.job"):
        logging.getLogger(name).setLevel(logging.ERROR)
    pulse = _Pulse(slots)
    if listener:
        records = Records(connect(options))
        os.register_at_fork(after_in_child=listener.close)  # a process that outlives this one must not keep the port
        start_monitor(listener, JobsCollector(records, Queues(records.redis)), pulse.is_alive)
    if slots == 1:
        _work(options, queues, pulse.beat)
        return

    def run(slot: int) -> None:
        check_parent = end_with_parent()

        def beat() -> None:
            pulse.beat(slot)
            check_parent()

        _work(options, queues, beat)

    Slots(slots, run).run()


def _work(options: JobOptions, queues: Sequence[str], beat: Callable[[], object]) -> None:
    """Run one job at a time."""
    pause_s = 1.0
    while True:
        for number in (signal.SIGTERM, signal.SIGINT):  # until RQ has its own handlers, and again after that
            signal.signal(number, _end)
        beat()
        started_s = time.monotonic()
        worker = _start(options, queues, beat)
        if worker:
            worker.work(logging_level=None)
            if worker.is_stopped:
                return
        # Redis is not there, or was not for too long.
        pause_s = 1.0 if time.monotonic() - started_s > _LONGEST_PAUSE_S else min(_LONGEST_PAUSE_S, 2 * pause_s)
        time.sleep(pause_s)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit()


def _start(options: JobOptions, queues: Sequence[str], beat: Callable[[], object]) -> "Worker | None":
    from redis.exceptions import RedisError
    from rq.serializers import JSONSerializer

    from .worker import Worker

    redis = connect(options)
    ours = Queues(redis)
    records, store = Records(connect(options)), open_store(options.job_store)
    try:
        if records.store() not in {"", store.identity()}:
            raise SetupError(OTHER_STORE)
        worker = Worker(
            [ours.queue(name) for name in queues],
            connection=redis,
            serializer=JSONSerializer,
            worker_ttl=_TTL_S,
            job_monitoring_interval=_BEAT_EVERY_S,
            maintenance_interval=EVERY_S,
            log_job_description=False,
            on_beat=beat,
            sweeper=Sweeper(records, ours, store),
        )
    except (NotReady, RedisError) as error:
        log(logging.WARNING, "redis unreachable", reason=type(error.__cause__ or error).__name__)
        return None
    except OSError as error:
        log(logging.WARNING, "store cannot be used", reason=error.strerror or type(error).__name__)
        return None
    log(logging.INFO, "worker started", worker=worker.name, queues=list(queues))
    return worker
