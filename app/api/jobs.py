"""`/jobs`: send, follow and cancel background jobs."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field, ValidationError
from starlette.responses import StreamingResponse
from starlette.types import Scope

from ..errors import NotFound, NotReady
from ..jobs import MEDIA_TYPES, Job, Jobs, JobType, NewJob, Status
from ..serving import Lifecycle
from . import job_schemas as schemas
from .auth import jobs_owner
from .bodies import Bodies
from .checks import Check
from .context import UPLOAD, RequestContext, context_of
from .invalid import BodyInvalid
from .job_documents import DOCUMENTS
from .job_events import JobEvents
from .job_texts import Text, body_parser, validate_job, write_lines
from .request import check_headers
from .status import accept_head
from .streaming import GeneratedResponse
from .uploads import Form, boundary_of, in_time, values_of

T = TypeVar("T")

_OFF = "background jobs are off: the setting SENTIMENT_REDIS_URL is empty"
_OFF_RETRY_AFTER_S = 3600.0
_CLOSE_S = 2.0
_THREADS = 8  # of their own, so that a slow Redis does not keep others waiting
_KEY = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]


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

    async def accept(self, request: Request, key: str | None) -> Job:
        """Create the job that a request describes."""
        with self._in_flight():
            return await self._accept(request, key)

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

    async def _accept(self, request: Request, key: str | None) -> Job:
        context = context_of(request.scope)
        owner = jobs_owner(context)
        await self.run(self.jobs.check, owner)  # before the body is read
        new = partial(NewJob, owner, idempotency_key=key, metadata={"request_id": context.request_id})
        if boundary := boundary_of(request.headers.get("content-type", "")):
            return await self._accept_form(request, boundary, new)
        check_headers(context.headers, self._max_body_bytes)
        with self._bodies.hold() as body:
            content = await body.read(request.receive, self._max_body_bytes, lambda: body_parser(self._max_body_bytes))
            wanted, texts = await self.run(validate_job, content)
            job = new(wanted.request(), **wanted.schedule())
            return await self.run(self._store, job, texts)

    async def _accept_form(self, request: Request, boundary: bytes, new: Callable[..., NewJob]) -> Job:
        upload = await self.run(self.jobs.upload)

        async def store(data: bytes) -> None:
            await self.run(upload.write, data)

        try:
            form = Form(boundary, store)
            request.scope["state"][UPLOAD] = True
            await form.read(in_time(request.stream()))
            wanted = schemas.InferenceUpload.model_validate_json(orjson.dumps(values_of(form.fields)))
            job = new(wanted.request(form.file_name or "upload"), **wanted.schedule())
        except ValidationError as error:
            self._threads.submit(upload.discard)
            raise BodyInvalid.from_pydantic(error, schemas.InferenceUpload.model_fields) from None
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


def jobs_router(api: JobsApi) -> APIRouter:
    """Return the routes of background jobs."""
    router = APIRouter(tags=["jobs"])

    @router.post("/jobs/inference", status_code=202, response_model=schemas.JobAccepted, **DOCUMENTS["submit"])
    async def submit_inference_job(request: Request, idempotency_key: _KEY = None) -> Response:
        """Score rows while you do not wait: texts, a file in a form, or a file that the worker reads.

        The response comes once the job is stored. A repeat with the same `Idempotency-Key` gets the same job.
        """
        job = await api.accept(request, idempotency_key)
        below = f"{request.scope.get('root_path', '')}/jobs/{job.id}"
        accepted = {"id": job.id, "status": job.status}
        accepted |= {f"{name}_url": f"{below}/{name}" for name in ("status", "events", "result")}
        headers = {"Location": f"{below}/status"}
        return Response(orjson.dumps(accepted), 202, headers, "application/json")

    @router.get("/jobs", **DOCUMENTS["list"])
    async def list_jobs(
        request: Request,
        status: Annotated[Status, Field(title="JobState")] | None = None,
        type: JobType | None = None,  # noqa: A002 - the name of the parameter
        cursor: Annotated[str, Query(max_length=64, pattern=r"^(\d{15}-[0-9a-f]{24})?$")] = "",
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> schemas.JobList:
        """List your jobs, the newest first."""
        owner = jobs_owner(context_of(request.scope))
        filters = {"status": status, "type": type}
        jobs, after = await api.run(api.jobs.page, owner, filters, cursor, limit)
        return schemas.JobList.model_validate({"jobs": [job.view() for job in jobs], "cursor": after or None})

    @router.get("/jobs/{id}", **DOCUMENTS["one"])
    @router.get("/jobs/{id}/status", name="get_job_status", **DOCUMENTS["one"])
    async def get_job(request: Request, id: str) -> schemas.JobStatus:  # noqa: A002 - the name in the path
        """Return the state of a job."""
        job = await api.find(context_of(request.scope), id)
        return schemas.JobStatus.model_validate(job.view())

    @router.get("/jobs/{id}/events", response_class=StreamingResponse, **DOCUMENTS["events"])
    async def follow_job(
        request: Request,
        id: str,  # noqa: A002
        last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None,
    ) -> Response:
        """Follow a job with server-sent events: `status`, at each change and every five seconds, until its end."""
        context = context_of(request.scope)
        job = await api.find(context, id)
        if job.is_over and str(job.version) == last_event_id:
            return Response(status_code=204)  # a browser then stops to reconnect
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        may_follow = partial(api.may_follow, request.scope, context, job)
        events = api.events.follow(job, last_event_id, may_follow) if request.method == "GET" else _nothing()
        return GeneratedResponse(events, "text/event-stream", headers)

    @router.get("/jobs/{id}/result", response_class=StreamingResponse, **DOCUMENTS["result"])
    async def get_result(
        request: Request,
        id: str,  # noqa: A002
        format: Annotated[str, Query(pattern="^(ndjson|csv|tsv|parquet)$")] = "ndjson",  # noqa: A002
    ) -> Response:
        """Download all rows in their order, each with its prediction."""
        job = await api.find(context_of(request.scope), id)
        pieces = await api.run(api.jobs.result, job, format)
        headers = {
            "Content-Disposition": f'attachment; filename="{job.id}.{format}"',
            "Cache-Control": "no-store",
        }
        content = api.send(pieces) if request.method == "GET" else _nothing()
        return GeneratedResponse(content, MEDIA_TYPES[format], headers)

    @router.post("/jobs/{id}/retry", status_code=202, response_model=schemas.JobStatus, **DOCUMENTS["one"])
    async def retry_job(request: Request, id: str) -> schemas.JobStatus:  # noqa: A002
        """Try a job again that failed or was cancelled. It goes on after the last row that was scored."""
        job = await api.find(context_of(request.scope), id)
        return schemas.JobStatus.model_validate((await api.run(api.jobs.retry, job)).view())

    @router.delete("/jobs/{id}", response_model=schemas.JobStatus, **DOCUMENTS["cancel"])
    async def cancel_job(request: Request, id: str) -> Response:  # noqa: A002
        """Cancel a job. One that is over is forgotten, with its result."""
        job = await api.find(context_of(request.scope), id)
        cancelled = await api.run(api.jobs.cancel, job)
        if cancelled is None:
            return Response(status_code=204)
        return Response(orjson.dumps(cancelled.view()), 200, None, "application/json")

    accept_head(router)
    return router


async def _nothing() -> AsyncGenerator[bytes, None]:
    """The content of a response to HEAD."""
    return
    yield
