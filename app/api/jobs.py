"""`/jobs`: send, follow and cancel background jobs."""

from collections.abc import AsyncGenerator
from functools import partial
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field
from starlette.responses import StreamingResponse

from ..jobs import Job, JobType, Status
from . import job_schemas as schemas
from .auth import jobs_owner
from .context import context_of
from .job_calls import JobsApi
from .job_documents import DOCUMENTS
from .job_kinds import INFERENCE, TRAINING
from .status import accept_head
from .streaming import GeneratedResponse

_KEY = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]


def jobs_router(api: JobsApi) -> APIRouter:
    """Return the routes of background jobs."""
    router = APIRouter(tags=["jobs"])

    @router.post("/jobs/inference", status_code=202, response_model=schemas.JobAccepted, **DOCUMENTS["inference"])
    async def submit_inference_job(request: Request, idempotency_key: _KEY = None) -> Response:
        """Score rows while you do not wait: texts, a file in a form, or a file that the worker reads.

        The response comes once the job is stored. A repeat with the same `Idempotency-Key` gets the same job.
        """
        return _accepted(request, await api.accept(INFERENCE, request, idempotency_key))

    @router.post("/jobs/training", status_code=202, response_model=schemas.JobAccepted, **DOCUMENTS["training"])
    async def submit_training_job(request: Request, idempotency_key: _KEY = None) -> Response:
        """Train a model on your own labels while you do not wait: a file in a form, or one that the worker reads.

        Its result is an archive with the model, calibrated and exported, for `rt-sentiment serve`.
        """
        return _accepted(request, await api.accept(TRAINING, request, idempotency_key))

    @router.get("/jobs", **DOCUMENTS["list"])
    async def list_jobs(
        request: Request,
        status: Annotated[Status, Field(title="JobState")] | None = None,
        type: Annotated[JobType, Field(title="JobKind")] | None = None,  # noqa: A002 - the name of the parameter
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
        format: Annotated[str | None, Query(pattern="^(ndjson|csv|tsv|parquet|tar)$")] = None,  # noqa: A002
    ) -> Response:
        """Download all rows in their order, each with its prediction; of a training, the archive with its model.

        Without `format`, rows are JSON lines. A model is always `tar`.
        """
        job = await api.find(context_of(request.scope), id)
        result = await api.run(api.jobs.result, job, format)
        headers = {
            "Content-Disposition": f'attachment; filename="{result.file_name}"',
            "Cache-Control": "no-store",
        }
        content = api.send(result.pieces) if request.method == "GET" else _nothing()
        return GeneratedResponse(content, result.media_type, headers)

    @router.post("/jobs/{id}/retry", status_code=202, response_model=schemas.JobStatus, **DOCUMENTS["one"])
    async def retry_job(request: Request, id: str) -> schemas.JobStatus:  # noqa: A002
        """Try a job again that failed or was cancelled. It goes on after the last row, or state, that was stored."""
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


def _accepted(request: Request, job: Job) -> Response:
    below = f"{request.scope.get('root_path', '')}/jobs/{job.id}"
    accepted = {"id": job.id, "status": job.status}
    accepted |= {f"{name}_url": f"{below}/{name}" for name in ("status", "events", "result")}
    return Response(orjson.dumps(accepted), 202, {"Location": f"{below}/status"}, "application/json")


async def _nothing() -> AsyncGenerator[bytes, None]:
    """The content of a response to HEAD."""
    return
    yield
