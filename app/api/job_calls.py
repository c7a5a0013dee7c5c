"""What the routes of jobs do: they call `Jobs` in threads, and read what is submitted."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import orjson
from fastapi import Request
from pydantic import ValidationError
from starlette.types import Scope

from ..errors import NotFound, NotReady
from ..jobs import Job, Jobs, NewJob
from ..serving import Lifecycle
from ..types import Text
from .auth import jobs_owner
from .bodies import Bodies
from .checks import Check
from .context import UPLOAD, RequestContext, context_of
from .invalid import BodyInvalid
from .job_events import JobEvents
from .job_kinds import Kind
from .job_texts import write_lines
from .request import check_headers
from .uploads import Form, boundary_of, in_time, values_of

T = TypeVar("T")

_OFF = "background jobs are off: the setting SENTIMENT_REDIS_URL is empty"
_OFF_RETRY_AFTER_S = 3600.0
_CLOSE_S = 2.0
_THREADS = 8  # of their own, so that a slow Redis does not keep others waiting


class JobsApi:
    """Calls `Jobs` in threads. Without Redis, every call says that jobs are off."""

    def __init__(
        self,
        jobs: Jobs | None,
        bodies: Bodies,
        max_body_bytes: int,
        lifecycle: Lifecycle,
        authentication: Check | None = None,
    ) -> None:
        self._jobs = jobs
        self._bodies = bodies
        self._max_body_bytes = max_body_bytes
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="jobs")
        self._lifecycle = lifecycle
        self._authentication = authentication
        self.events = JobEvents(self._get_any, lambda: lifecycle.status == "draining")

    @property
    def jobs(self) -> Jobs:
        if self._jobs is None:
            raise NotReady(_OFF, _OFF_RETRY_AFTER_S)
        return self._jobs

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function that blocks. A store that cannot be used is reported like Redis."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args))
        except OSError as error:
            raise NotReady(f"the store of jobs cannot be used: {error.strerror or type(error).__name__}") from error

    async def find(self, context: RequestContext, job_id: str) -> Job:
        job = await self.run(self.jobs.get, jobs_owner(context), job_id)
        if job is None:
            raise NotFound("you have no job of this id")
        return job

    def may_follow(self, scope: Scope, context: RequestContext, job: Job) -> bool:
        """Return whether the key of a request is still valid, and that of the job's owner."""
        if self._authentication is None:
            return True
        return self._authentication(scope, context) is None and jobs_owner(context) == job.owner

    async def close(self) -> None:
        """Finish what runs, such as the removal of an upload that was cut off, unless it takes long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await asyncio.to_thread(self._threads.shutdown)
        if self._jobs:
            self._jobs.close()

    async def accept(self, kind: Kind, request: Request, key: str | None) -> Job:
        """Create the job that a request describes."""
        with self._in_flight():
            return await self._accept(kind, request, key)

    async def send(self, pieces: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Yield the pieces of a result."""
        with self._in_flight():
            while (piece := await self.run(next, pieces, None)) is not None:
                yield piece

    @contextmanager
    def _in_flight(self) -> Iterator[None]:
        """Let a server that is told to end wait for the request."""
        self._lifecycle.in_flight += 1
        try:
            yield
        finally:
            self._lifecycle.in_flight -= 1

    async def _accept(self, kind: Kind, request: Request, key: str | None) -> Job:
        context = context_of(request.scope)
        owner = jobs_owner(context)
        await self.run(self.jobs.check, owner)  # before the body is read
        metadata = {"request_id": context.request_id}
        trace = context.trace.carrier() if context.trace else {}
        new = partial(NewJob, owner, type=kind.name, idempotency_key=key, metadata=metadata, trace=trace)
        if boundary := boundary_of(request.headers.get("content-type", "")):
            return await self._accept_form(kind, request, boundary, new)
        check_headers(context.headers, self._max_body_bytes)
        with self._bodies.hold() as body:
            new_parser = partial(kind.body_parser, self._max_body_bytes)
            content = await body.read(request.receive, self._max_body_bytes, new_parser)
            wanted, texts = await self.run(kind.validate, content)
            job = new(wanted.request(), **wanted.schedule())
            return await self.run(self._store, job, texts)

    async def _accept_form(self, kind: Kind, request: Request, boundary: bytes, new: Callable[..., NewJob]) -> Job:
        upload = await self.run(self.jobs.upload)

        async def store(data: bytes) -> None:
            await self.run(upload.write, data)

        try:
            form = Form(boundary, store)
            request.scope["state"][UPLOAD] = True
            await form.read(in_time(request.stream()))
            wanted = kind.upload.model_validate_json(orjson.dumps(values_of(form.fields)))
            job = new(wanted.request(form.file_name or "upload"), **wanted.schedule())
        except ValidationError as error:
            self._threads.submit(upload.discard)
            raise BodyInvalid.from_pydantic(error, kind.upload.model_fields) from None
        except BaseException:
            self._threads.submit(upload.discard)
            raise
        return await self.run(self.jobs.submit, job, upload)

    def _store(self, new: NewJob, texts: Sequence[Text] | None) -> Job:
        if texts is None:
            return self.jobs.submit(new)
        upload = self.jobs.upload()
        try:
            write_lines(texts, upload)
        except BaseException:
            upload.discard()
            raise
        return self.jobs.submit(new, upload)

    async def _get_any(self, job_ids: Sequence[str]) -> list[Job | None]:
        return await self.run(self.jobs.get_any, job_ids)
