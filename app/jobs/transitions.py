"""Every change of a job, as a pure function of the job and the time.

    pending ── claim ──→ running ── complete ──→ completed
       ↑                    │
       ├── hand_back ───────┤   the worker ends; does not count as an attempt
       ├── fail, lose ──────┤   after a pause, as long as attempts are left
       │                    └── fail, lose ──→ failed ── retry ──→ pending
       └── cancel (also of a running job) ──→ cancelled ── retry ──→ pending

A running job has the token of the process that runs it. What a process does without that token is refused, so a process
that was taken for dead cannot disturb the one that has taken over.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .job import Job, queue_of

_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 600.0


class Refused(Exception):
    """The job is not in a state that allows the change."""


def claim(job: Job, token: str, now_s: float) -> Job:
    """Begin, or go on with, a job. Again with the same token, nothing changes: the reply to the first was lost."""
    if job.status == "running" and job.token == token:
        return job
    if job.status != "pending" or job.due_at > now_s:
        raise Refused
    return _change(
        job,
        now_s,
        status="running",
        token=token,
        attempts=job.attempts + 1,
        started_at=job.started_at or now_s,
        per_s=0.0,
    )


def progress(
    job: Job,
    token: str,
    now_s: float,
    *,
    done: int,
    total: int | None,
    per_s: float,
    stage: Mapping[str, Any] | None = None,
    checkpoint: Mapping[str, Any] | None = None,
) -> Job:
    """Note how far a job is; with a checkpoint, from where it goes on if its process ends now."""
    _check_token(job, token)
    changes: dict[str, Any] = {"done": done, "total": total, "per_s": per_s, "stage": stage or {}}
    if checkpoint is not None:
        got_on = any(checkpoint.get(name, 0) > job.checkpoint.get(name, 0) for name in ("rows", "steps"))
        changes |= {"checkpoint": checkpoint, "failures": 0 if got_on else job.failures}
    return _change(job, now_s, **changes)


def complete(job: Job, token: str, now_s: float, result: Mapping[str, Any]) -> Job:
    _check_token(job, token)
    return _end(job, now_s, status="completed", result=result, error=None)


def hand_back(job: Job, token: str, now_s: float) -> Job:
    """Give a job to another worker, because this one ends."""
    _check_token(job, token)
    return _change(job, now_s, status="pending", token=None, attempts=job.attempts - 1, due_at=0.0)


def fail(job: Job, token: str, now_s: float, error: str, *, is_final: bool = False) -> Job:
    """Note that an attempt has failed. If attempts are left, the next one begins after a pause."""
    _check_token(job, token)
    return _after_failure(job, now_s, error, pause_s=pause_s(job.failures), is_final=is_final)


def lose(job: Job, now_s: float, token: str | None = None) -> Job:
    """Note that the process that ran the job, or the one with this token, is gone. The next attempt begins at once."""
    if job.status != "running" or token not in (None, job.token):
        raise Refused
    return _after_failure(job, now_s, "the worker stopped while it ran this job", pause_s=0.0, is_final=False)


def cancel(job: Job, now_s: float) -> Job:
    if job.is_over:
        raise Refused
    return _end(job, now_s, status="cancelled")


def retry(job: Job, now_s: float) -> Job:
    """Try a job again that failed or was cancelled. It goes on from its last checkpoint.

    One that was cancelled before its time still begins then, and a series goes on with it.
    """
    if job.status not in ("failed", "cancelled"):
        raise Refused
    due_at = job.run_at if job.run_at and job.run_at > now_s else 0.0
    return _change(job, now_s, status="pending", failures=0, due_at=due_at, finished_at=None)


def move(job: Job, now_s: float, queue: str) -> Job:
    """Move a job that has waited for long to a queue that is served earlier."""
    if job.status != "pending":
        raise Refused
    return _change(job, now_s, queue=queue)


def successor(job: Job, job_id: str, now_s: float) -> Job:
    """Return the next job of one that is repeated. Times that are over are left out."""
    assert job.every_s is not None
    begun_s = job.run_at or job.created_at
    times = max(1, math.floor((now_s - begun_s) / job.every_s) + 1)
    run_at = begun_s + times * job.every_s
    return Job(
        id=job_id,
        type=job.type,
        owner=job.owner,
        request=job.request,
        created_at=now_s,
        updated_at=now_s,
        max_failures=job.max_failures,
        ttl_s=job.ttl_s,
        priority=job.priority,
        queue=queue_of(job.type, job.priority),
        run_at=run_at,
        due_at=run_at,
        every_s=job.every_s,
        metadata=job.metadata,
        input_bytes=job.input_bytes,
        store=job.store,
    )


def pause_s(failures: int) -> float:
    """Return the pause after a failure, if so many came before it."""
    return float(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 4 ** min(failures, 10)))


def _check_token(job: Job, token: str) -> None:
    if job.status != "running" or job.token != token:
        raise Refused


def _after_failure(job: Job, now_s: float, error: str, *, pause_s: float, is_final: bool) -> Job:
    failures = job.failures + 1
    if is_final or failures >= job.max_failures:
        return _end(job, now_s, status="failed", failures=failures, error=error)
    return _change(
        job,
        now_s,
        status="pending",
        token=None,
        failures=failures,
        error=error,
        due_at=now_s + pause_s if pause_s else 0.0,
    )


def _end(job: Job, now_s: float, **changes: Any) -> Job:
    return _change(job, now_s, token=None, finished_at=now_s, **changes)


def _change(job: Job, now_s: float, **changes: Any) -> Job:
    return replace(job, updated_at=now_s, version=job.version + 1, **changes)
