"""What a worker's child process does with one job. RQ calls `run_job` by its name, so what it needs is in `context`."""

import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import Any

from ..errors import ArtifactError, InvalidInput, NotReady, SetupError, TableError
from ..logs import log, log_exception
from . import transitions
from .connection import connect
from .job import Job
from .lease import HandedBack, Lease, LeaseLost
from .options import JobOptions
from .priority import lower_work
from .queue import Queues
from .records import Records
from .scoring import LoadScorer, score_job
from .store import OTHER_STORE, open_store
from .training import TrainingFailed, train_job

_MAX_ERROR_CHARS = 2000  # an error may list the columns of the source

# Another attempt would end in the same way.
_FINAL = (TableError, InvalidInput)
_BRIEF_ERRORS = (TableError, InvalidInput, ArtifactError, SetupError, NotReady, TrainingFailed)


# Traces what runs in its context: an attempt to run a job. What is put into its dictionary describes the attempt.
TraceJob = Callable[[Job], AbstractContextManager[dict[str, object]]]


def untraced(_job: Job) -> AbstractContextManager[dict[str, object]]:
    """Trace nothing."""
    return nullcontext({})


@dataclass(slots=True)
class Context:
    """What the worker was started with."""

    options: JobOptions
    load_scorer: LoadScorer
    trace: TraceJob = untraced


context: Context | None = None  # of this process, which runs one job


def run_job(job_id: str) -> None:
    """Run a job that RQ has delivered."""
    from rq import get_current_job

    delivery = get_current_job()
    assert delivery is not None
    run(job_id, delivery.id)


def run(job_id: str, token: str) -> None:
    """Run a job, unless somebody else runs it or it is over. The token is unique for each call."""
    assert context is not None
    options = context.options
    records = Records(connect(options))
    try:
        job = records.change(job_id, lambda job, now_s: transitions.claim(job, token, now_s), lease=token)
    except transitions.Refused:
        return
    with context.trace(job) as about:
        if ended := _attempt(records, job, token):
            about |= {"status": ended.status, "rows": ended.done}


def _attempt(records: Records, job: Job, token: str) -> Job | None:
    """Run a job that this process has claimed. Return it as it is then; None if it belongs to somebody else by now."""
    fields = {"job": job.id, "type": job.type, "attempt": job.attempts, "request_id": job.metadata.get("request_id")}
    log(logging.INFO, "job started", **fields)
    if job.every_s:  # now, so that the series goes on whatever happens to this job
        following = transitions.successor(job, secrets.token_hex(12), time.time())
        records.create(following, sys.maxsize, f"after {job.id}")
    worker = os.getppid()
    # A process whose worker was killed would otherwise run on beside the next one, and nobody could end it.
    with Lease(records, job, token, lambda: os.getppid() == worker) as lease:
        signal.signal(signal.SIGTERM, _hand_back(lease))
        lower_work()  # after the thread of the lease has begun, which must not wait for so long
        try:
            ended = _run(lease, token)
        except LeaseLost:
            log(logging.INFO, "job given up", reason="it was cancelled, or another worker has it", **fields)
            return None
    if ended.status == "pending" and not ended.due_at:
        try:
            Queues(records.redis).deliver(ended)
        except NotReady:  # another worker finds it
            log(logging.WARNING, "job not delivered", **fields)
    log(logging.INFO, "job ended", status=ended.status, done=ended.done, **fields)
    return ended


def _run(lease: Lease, token: str) -> Job:
    """Run a job, and return it as it is then."""
    assert context is not None
    end: Callable[[Job, float], Job]
    try:
        store = open_store(context.options.job_store)
        if lease.job.store not in {"", store.identity()}:
            raise SetupError(OTHER_STORE)
        if lease.job.type == "training":
            result = train_job(lease, store, context.options)
        else:
            result = score_job(lease, store, context.load_scorer, context.options)
    except LeaseLost:
        raise
    except HandedBack:

        def end(job: Job, now_s: float) -> Job:
            return transitions.hand_back(job, token, now_s)
    except Exception as error:
        if not isinstance(error, _BRIEF_ERRORS):
            log_exception("job failed", error, job=lease.job.id)
        elif isinstance(error, (ArtifactError, SetupError, NotReady)):  # which quote nothing of the rows
            log(logging.ERROR, "job failed", job=lease.job.id, reason=str(error))
        why, is_final = _explain(error), isinstance(error, _FINAL)

        def end(job: Job, now_s: float) -> Job:
            return transitions.fail(job, token, now_s, why, is_final=is_final)
    else:

        def end(job: Job, now_s: float) -> Job:
            return transitions.complete(job, token, now_s, result)

    return lease.end(end)


def _hand_back(lease: Lease) -> Callable[[int, FrameType | None], Any]:
    return lambda _number, _frame: lease.stop(HandedBack)


def _explain(error: Exception) -> str:
    """Return what the job's owner sees: nothing of a library's message, which may quote a text."""
    if isinstance(error, _BRIEF_ERRORS):
        why = error.explain() if isinstance(error, TableError) else str(error)
        # The names of columns may have half a surrogate pair.
        return why[:_MAX_ERROR_CHARS].encode("utf-8", "backslashreplace").decode()
    if isinstance(error, OSError):
        return f"the worker failed: {error.strerror or type(error).__name__}"
    return f"the worker failed: {type(error).__name__}"
