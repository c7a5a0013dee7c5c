"""What the API does with jobs: check, store, look up, cancel. All methods block; they never run a job."""

import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import orjson

from ..errors import Conflict, NotReady, TextTooLong
from . import transitions
from .connection import connect
from .job import Job, JobType, Priority, queue_of
from .options import JobOptions
from .queue import Queues
from .records import Records
from .request import InferenceRequest, TrainingRequest
from .results import ResultFile, input_path, open_result
from .sources import check_url, is_download
from .store import open_store


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that a caller wants."""

    owner: str
    request: InferenceRequest | TrainingRequest
    type: JobType = "inference"
    priority: Priority = "normal"
    run_at: float | None = None
    every_s: float | None = None
    idempotency_key: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    trace: Mapping[str, str] = field(default_factory=dict)


class Jobs:
    """Jobs of all callers. Raises `NotReady` while Redis cannot be used."""

    def __init__(self, options: JobOptions) -> None:
        self.options = options
        self._records = Records(connect(options))
        self._queues = Queues(self._records.redis)
        self._store = open_store(options.job_store)

    def upload(self) -> "Upload":
        """Return an empty input, for `submit`."""
        return Upload(secrets.token_hex(12), self._store, self.options.max_input_bytes)

    def submit(self, new: NewJob, upload: "Upload | None" = None) -> Job:
        """Create a job for rows that were uploaded, or for those of its URL. Discards an upload that no job needs.

        Raises `InvalidInput` for one that cannot run, and `Overloaded` if the caller has too many jobs.
        """
        try:
            job = self._create(new, upload)
        except NotReady:
            raise  # the job may be there, and only the reply of Redis be lost; if it is not, a sweep deletes its rows
        except BaseException:
            if upload:
                upload.discard()
            raise
        if upload and job.id != upload.job_id:  # the job was sent before
            upload.discard()
        else:
            self._deliver(job)
        return job

    def _create(self, new: NewJob, upload: "Upload | None") -> Job:
        new.request.check()
        if new.request.url:
            check_url(new.request.url, self.options.job_sources)
        content = upload.finish() if upload else ""
        job_id = upload.job_id if upload else secrets.token_hex(12)
        spec = new.request.to_dict()
        about = [new.type, new.priority, new.run_at, new.every_s, spec, content]
        request = replace(new.request, digest=sha256(orjson.dumps(about, option=orjson.OPT_SORT_KEYS)).hexdigest())
        size = upload.size if upload else self.options.max_input_bytes if is_download(new.request.url) else 0
        now_s = time.time()
        job = Job(
            id=job_id,
            type=new.type,
            owner=new.owner,
            request=request.to_dict(),
            created_at=now_s,
            updated_at=now_s,
            max_failures=self.options.job_attempts,
            ttl_s=self.options.job_ttl_s,
            priority=new.priority,
            queue=queue_of(new.type, new.priority),
            run_at=new.run_at,
            due_at=new.run_at or 0.0,
            every_s=new.every_s,
            metadata=new.metadata,
            trace=new.trace,
            input_bytes=size,
            store=self._store.identity(),
        )
        limits = self.options
        return self._records.create(job, limits.job_max_open, new.idempotency_key, max_bytes=limits.job_max_open_bytes)

    def _deliver(self, job: Job) -> None:
        if job.status != "pending" or job.due_at > time.time():
            return
        with suppress(NotReady):  # the job is stored, and a sweep delivers it
            self._queues.deliver(job)

    def check(self, owner: str) -> None:
        """Raise `NotReady` if no job can be stored now, and `Overloaded` if this caller has too many."""
        self._records.check_room(owner, self.options.job_max_open, self.options.job_max_open_bytes)

    def get(self, owner: str, job_id: str) -> Job | None:
        """Return a job of this caller."""
        job = self._records.get(job_id)
        return job if job and job.owner == owner else None

    def get_any(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Return jobs of any caller, who has been checked."""
        return self._records.get_many(job_ids)

    def page(self, owner: str, filters: Mapping[str, str | None], cursor: str, limit: int) -> tuple[list[Job], str]:
        """Return the newest jobs that match, and the cursor for the next ones, "" at the end.

        There may be fewer than `limit`, because only so many jobs are looked at.
        """
        found: list[Job] = []
        for _ in range(_MAX_PAGES):
            page = self._records.page(owner, cursor, _PAGE)
            for position, job in page:
                cursor = position
                if job and all(value in (None, getattr(job, name)) for name, value in filters.items()):
                    found.append(job)
                    if len(found) == limit:
                        return found, cursor
            if len(page) < _PAGE:
                return found, ""
        return found, cursor

    def cancel(self, job: Job) -> Job | None:
        """Cancel a job; forget one that is over, and return None."""
        if not job.is_over:
            try:
                return self._records.change(job.id, transitions.cancel)
            except transitions.Refused:  # it has just ended, perhaps by us, and the reply was lost: its result stays
                return self._records.get(job.id)
        if not self._records.forget(job):  # it has just been tried again
            return self._records.get(job.id)
        self._store.delete(job.id)
        return None

    def retry(self, job: Job) -> Job:
        """Try a job again that failed or was cancelled. Raises `Conflict`."""
        try:
            again = self._records.change(job.id, transitions.retry)
        except transitions.Refused:
            raise Conflict(
                f"only a job that failed or was cancelled can be tried again; this one is {job.status}"
            ) from None
        self._deliver(again)
        return again

    def result(self, job: Job, target: str | None) -> ResultFile:
        """Return a result. Raises `Conflict`, and `InvalidInput` if the format cannot hold it."""
        if job.status != "completed":
            raise Conflict(f"only a completed job has a result; this one is {job.status}")
        return open_result(job, self._store, target)

    def close(self) -> None:
        self._records.redis.close()


_PAGE = 100
_MAX_PAGES = 20  # of one answer: a filter that matches no job must not read all of them


class Upload:
    """The rows of a job on their way to the store. Either `finish` or `discard` must be called."""

    def __init__(self, job_id: str, store: Any, max_bytes: int) -> None:
        self.job_id = job_id
        self._store = store
        self._max_bytes = max_bytes
        self.size = 0
        self._digest = sha256()
        self._stack = ExitStack()
        self._stream = self._stack.enter_context(store.writer(input_path(job_id)))

    def write(self, data: bytes) -> None:
        """Raises `TextTooLong` if the whole is too large."""
        self.size += len(data)
        if self.size > self._max_bytes:
            raise TextTooLong(f"the upload is larger than {self._max_bytes} bytes")
        self._digest.update(data)
        self._stream.write(data)

    def finish(self) -> str:
        """Store what was written, and return its sha256."""
        self._stack.close()
        return self._digest.hexdigest()

    def discard(self) -> None:
        """Store nothing."""
        error = TextTooLong("discarded")
        self._stack.__exit__(type(error), error, None)
        self._store.delete(self.job_id)
