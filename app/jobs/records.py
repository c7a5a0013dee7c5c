"""The jobs in Redis: one JSON value for each, and the sets by which they are found.

    rt-sentiment:job:ID            the job
    rt-sentiment:owner:OWNER       sorted set: all jobs of a caller, as TIME-ID
    rt-sentiment:open:OWNER        sorted set: those that are not over, by the bytes of their inputs in the store
    rt-sentiment:pending           sorted set: jobs that wait, by the time from which they may begin
    rt-sentiment:running           set
    rt-sentiment:suspect:ID        a running job whose lease was gone a moment ago
    rt-sentiment:lease:ID          the token of the process that runs it; gone some seconds after that process
    rt-sentiment:ended             sorted set: jobs that are over, by the time at which they are forgotten
    rt-sentiment:dead              set: jobs that failed
    rt-sentiment:once:OWNER:HASH   the job of an idempotency key
    rt-sentiment:store             the identity of the store of the newest job
    rt-sentiment:counts            hash: how many jobs have ended in which way, rows, retries

A change reads the job, computes the new one, and writes it with its sets, in a transaction that begins again if
somebody else has changed the job meanwhile.
"""

import hashlib
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..errors import InvalidInput, Overloaded
from . import transitions
from .connection import translated
from .job import Job

_PREFIX = "rt-sentiment"
PENDING, RUNNING, ENDED, DEAD, COUNTS = (
    f"{_PREFIX}:{name}" for name in ("pending", "running", "ended", "dead", "counts")
)
STORE = f"{_PREFIX}:store"
_WORKERS = "rq:workers"
LEASE_S = 8
_SUSPECT_S = 30
_RETRY_AFTER_S = 10.0


class Records:
    """Reads and changes jobs. Every method blocks, and raises `NotReady` if Redis cannot be used."""

    def __init__(self, redis: Any) -> None:
        self.redis = redis

    def create(
        self, job: Job, max_open: int, idempotency_key: str | None = None, *, max_bytes: int = sys.maxsize
    ) -> Job:
        """Store a new job, or return the one that was created with the same key.

        Raises `Overloaded` if its owner has `max_open` jobs that are not over, or if they would have more than
        `max_bytes` in the store; and `InvalidInput` for a key that came with another request.
        """
        once = _once(job.owner, idempotency_key) if idempotency_key else None

        def store(pipe: Any) -> Job:
            if once and (first := pipe.get(once)) and (earlier := pipe.get(_key(first.decode()))):
                return _same(Job.from_json(earlier), job)
            if stored := pipe.get(_key(job.id)):  # this is a repetition: the reply to the first transaction was lost
                return Job.from_json(stored)
            _check_room(pipe, job.owner, max_open, max_bytes - job.input_bytes)
            pipe.multi()
            if once:
                pipe.set(once, job.id, ex=job.ttl_s)
            pipe.set(STORE, job.store)
            pipe.zadd(_owner(job.owner), {_member(job): 0})
            _write(pipe, job)
            return job

        with translated():
            watched = [_open(job.owner), *([once] if once else [])]
            created: Job = self.redis.transaction(store, *watched, value_from_callable=True)
            return created

    def check_room(self, owner: str, max_open: int, max_bytes: int) -> None:
        """Raise `Overloaded` if a caller has so many jobs that are not over, or more than so many bytes in them."""
        with translated():
            _check_room(self.redis, owner, max_open, max_bytes)

    def store(self) -> str:
        """Return the identity of the store that services use, "" before the first job."""
        with translated():
            return (self.redis.get(STORE) or b"").decode()

    def get(self, job_id: str) -> Job | None:
        return self.get_many([job_id])[0]

    def get_many(self, job_ids: Iterable[str]) -> list[Job | None]:
        keys = [_key(job_id) for job_id in job_ids]
        with translated():
            return [Job.from_json(data) if data else None for data in (self.redis.mget(keys) if keys else ())]

    def change(self, job_id: str, transition: Callable[[Job, float], Job], *, lease: str | None = None) -> Job:
        """Apply a transition, and renew the lease of its process if there is one.

        Raises `Refused` if the job does not allow it, or is forgotten.
        """

        def apply(pipe: Any) -> Job:
            data = pipe.get(_key(job_id))
            if not data:
                raise transitions.Refused
            old = Job.from_json(data)
            new = transition(old, time.time())
            pipe.multi()
            _write(pipe, new, old)
            if lease and new.token == lease:
                pipe.set(_lease(job_id), lease, ex=LEASE_S)
            return new

        with translated():
            changed: Job = self.redis.transaction(apply, _key(job_id), value_from_callable=True)
            return changed

    def forget(self, job: Job) -> bool:
        """Delete a job that is over, unless somebody has changed it meanwhile. Return whether it is gone."""

        def delete(pipe: Any) -> bool:
            data = pipe.get(_key(job.id))
            if data and Job.from_json(data).version != job.version:
                return False
            pipe.multi()
            pipe.delete(_key(job.id), _lease(job.id))
            pipe.zrem(_owner(job.owner), _member(job))
            for name in (RUNNING, DEAD):
                pipe.srem(name, job.id)
            for name in (_open(job.owner), PENDING, ENDED):
                pipe.zrem(name, job.id)
            return True

        with translated():
            return bool(self.redis.transaction(delete, _key(job.id), value_from_callable=True))

    def page(self, owner: str, cursor: str, limit: int) -> list[tuple[str, Job | None]]:
        """Return the newest jobs of a caller that are older than `cursor`, each with its own cursor.

        One that was forgotten meanwhile is None.
        """
        newest = f"({cursor}" if cursor else "+"
        with translated():
            members = [
                member.decode() for member in self.redis.zrevrangebylex(_owner(owner), newest, "-", start=0, num=limit)
            ]
        jobs = self.get_many([member.partition("-")[2] for member in members])
        return list(zip(members, jobs, strict=True))

    def figures(self) -> dict[str, int]:
        """Return how many jobs run, are dead and have ended, how many workers there are, and the counters."""
        with translated(), self.redis.pipeline(transaction=False) as pipe:
            pipe.scard(RUNNING)
            pipe.scard(DEAD)
            pipe.scard(_WORKERS)
            pipe.hgetall(COUNTS)
            running, dead, workers, counts = pipe.execute()
        names = ("completed", "failed", "cancelled", "retries", "rows")
        counters = {name: int(counts.get(name.encode(), 0)) for name in names}
        return {"running": running, "dead": dead, "workers": workers} | counters

    def lost(self) -> list[str]:
        """Return the running jobs whose process has not renewed its lease, at this call and at an earlier one.

        Twice, so that processes have time to renew their leases when Redis is back.
        """
        with translated():
            running = [job_id.decode() for job_id in self.redis.smembers(RUNNING)]
            leases = self.redis.mget(map(_lease, running)) if running else ()
            without = [job_id for job_id, lease in zip(running, leases, strict=True) if not lease]
            return [
                job_id
                for job_id in without
                if not self.redis.set(f"{_PREFIX}:suspect:{job_id}", 1, nx=True, ex=_SUSPECT_S)
            ]

    def due(self, now_s: float) -> list[str]:
        """Return the jobs that may begin."""
        with translated():
            return [job_id.decode() for job_id in self.redis.zrangebyscore(PENDING, 0, now_s)]

    def unknown(self, job_ids: Sequence[str]) -> list[str]:
        """Return those ids that no job has."""
        with translated(), self.redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.exists(_key(job_id))
            return [job_id for job_id, exists in zip(job_ids, pipe.execute(), strict=True) if not exists]

    def expired(self, now_s: float) -> list[str]:
        with translated():
            return [job_id.decode() for job_id in self.redis.zrangebyscore(ENDED, 0, now_s)]


def _check_room(redis: Any, owner: str, max_open: int, max_bytes: int) -> None:
    sizes = [size for _, size in redis.zrange(_open(owner), 0, -1, withscores=True)]
    if len(sizes) >= max_open:
        raise Overloaded(f"you have {max_open} jobs that are not over; wait, or cancel one", _RETRY_AFTER_S)
    if (held := int(sum(sizes))) > max_bytes:
        detail = f"your jobs that are not over have {held} bytes in the store, which leaves no room for this one"
        raise Overloaded(f"{detail}; wait, or cancel one", _RETRY_AFTER_S)


def _write(pipe: Any, job: Job, old: Job | None = None) -> None:
    pipe.set(_key(job.id), job.to_json())
    if job.status == "running":
        pipe.sadd(RUNNING, job.id)
        pipe.zrem(PENDING, job.id)
    elif job.status == "pending":
        pipe.zadd(PENDING, {job.id: job.due_at})
        pipe.srem(RUNNING, job.id)
    else:
        pipe.zrem(PENDING, job.id)
        pipe.srem(RUNNING, job.id)
    if job.is_over:
        pipe.zrem(_open(job.owner), job.id)
        pipe.zadd(ENDED, {job.id: (job.finished_at or 0) + job.ttl_s})
        pipe.delete(_lease(job.id))
    else:
        pipe.zadd(_open(job.owner), {job.id: job.input_bytes})
        pipe.zrem(ENDED, job.id)
    (pipe.sadd if job.status == "failed" else pipe.srem)(DEAD, job.id)
    for name, amount in _counts(job, old).items():
        pipe.hincrby(COUNTS, name, amount)


def _counts(job: Job, old: Job | None) -> Mapping[str, int]:
    """Return by how much a change raises which counters."""
    counts: dict[str, int] = {}
    if old and old.status != job.status and job.is_over:
        counts[job.status] = 1
    if old and job.failures > old.failures and job.status == "pending":
        counts["retries"] = 1
    if old and (rows := job.checkpoint.get("rows", 0) - old.checkpoint.get("rows", 0)) > 0:
        counts["rows"] = rows
    return counts


def _same(earlier: Job, job: Job) -> Job:
    if earlier.request.get("digest") != job.request.get("digest"):
        raise InvalidInput("was used for another request before", ("header", "Idempotency-Key"))
    return earlier


def _key(job_id: str) -> str:
    return f"{_PREFIX}:job:{job_id}"


def _lease(job_id: str) -> str:
    return f"{_PREFIX}:lease:{job_id}"


def _owner(owner: str) -> str:
    return f"{_PREFIX}:owner:{owner}"


def _open(owner: str) -> str:
    return f"{_PREFIX}:open:{owner}"


def _once(owner: str, key: str) -> str:
    return f"{_PREFIX}:once:{owner}:{hashlib.sha256(key.encode()).hexdigest()}"


def _member(job: Job) -> str:
    return f"{int(job.created_at * 1000):015d}-{job.id}"
