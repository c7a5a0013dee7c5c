"""Requests and responses of jobs as bytes. No I/O."""

import json
import os
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, BinaryIO, Literal
from urllib.parse import quote, urlencode

from .forms import FileRows, Form, StreamRows, TextRows
from .messages import Answer, LongText, Message, json_of, typed, unexpected
from .types import Job, JobState, Progress, SubmittedJob

FileFormat = Literal["csv", "tsv", "jsonl", "parquet", "lines"]
ResultFormat = Literal["ndjson", "csv", "tsv", "parquet"]
Priority = Literal["high", "normal", "low"]
OnBadRow = Literal["error", "keep"]

_SUBMIT = "/jobs/inference"
_MAX_KEY_CHARS = 255


@dataclass(frozen=True, slots=True)
class Submission:
    """The arguments of `submit`, checked. None and False leave the choice to the server."""

    request_id: str
    texts: Iterable[str] | None = None
    file: str | os.PathLike[str] | BinaryIO | None = None
    source: str | None = None
    name: str | None = None
    format: FileFormat | None = None
    text_column: str | int | None = None
    encoding: str | None = None
    delimiter: str | None = None
    no_header: bool = False
    no_quotes: bool = False
    on_bad_row: OnBadRow | None = None
    prefix: str | None = None
    long_text: LongText | None = None
    priority: Priority | None = None
    run_at: datetime | str | None = None
    every: timedelta | str | None = None
    idempotency_key: str | None = None

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.texts, self.file, self.source)) != 1:
            raise ValueError("submit needs one of texts, file and source")
        if isinstance(self.run_at, datetime) and self.run_at.tzinfo is None:
            raise ValueError("run_at must have a time zone")
        key = self.idempotency_key
        if key is not None and (not key.isascii() or not key.isprintable() or not 1 <= len(key) <= _MAX_KEY_CHARS):
            raise ValueError(f"idempotency_key must consist of 1 to {_MAX_KEY_CHARS} visible ASCII characters")

    def form(self) -> Form | None:
        """Return what is uploaded; None if the worker reads the rows itself."""
        if self.source is not None:
            return None
        fields = {name: _field(value) for name, value in (self._layout | self._options | self._schedule).items()}
        if self.texts is not None:
            return Form(TextRows(self.texts), fields)
        if isinstance(self.file, str | os.PathLike):
            return Form(FileRows(self.file, self.name), fields)
        assert self.file is not None
        return Form(StreamRows(self.file, self.name), fields)

    def message(self, form: Form | None) -> Message:
        """Return the request. All its attempts have the same key, so that they make one job."""
        headers = {"idempotency-key": self.idempotency_key or uuid.uuid4().hex}
        if form:
            return Message("POST", _SUBMIT, self.request_id, more_headers=headers | form.headers)
        content = {"source": {"url": self.source} | self._layout, "options": self._options} | self._schedule
        return Message("POST", _SUBMIT, self.request_id, json.dumps(content).encode(), more_headers=headers)

    @property
    def _layout(self) -> dict[str, Any]:
        names = ("format", "text_column", "encoding", "delimiter", "no_header", "no_quotes")
        given = self._given(*names)
        return given | {"text_column": str(self.text_column)} if "text_column" in given else given

    @property
    def _options(self) -> dict[str, Any]:
        return self._given("on_bad_row", "prefix", "long_text")

    @property
    def _schedule(self) -> dict[str, Any]:
        given = self._given("priority", "run_at", "every")
        if isinstance(self.run_at, datetime):
            given["run_at"] = self.run_at.isoformat()
        if isinstance(self.every, timedelta):
            given["every"] = f"PT{self.every.total_seconds():.6f}S"
        return given

    def _given(self, *names: str) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None and value is not False}


def _field(value: object) -> str:
    return "true" if value is True else str(value)


def job_path(job_id: str, below: str = "") -> str:
    """Return a path of a job. What cannot be in a path is escaped, and the server then has no such job."""
    if not isinstance(job_id, str) or not job_id:
        raise ValueError("the id of a job must be a string, and not empty")
    return f"/jobs/{quote(job_id, safe='')}{below}"


def get_message(job_id: str, request_id: str) -> Message:
    return Message("GET", job_path(job_id), request_id)


def cancel_message(job_id: str, request_id: str) -> Message:
    """Return the request that cancels a job. A second one would delete the job."""
    return Message("DELETE", job_path(job_id), request_id, can_be_repeated=False)


def retry_message(job_id: str, request_id: str) -> Message:
    return Message("POST", job_path(job_id, "/retry"), request_id, can_be_repeated=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """The arguments of `list`."""

    request_id: str
    status: JobState | None
    type: str | None
    page_size: int

    def __post_init__(self) -> None:
        if not 1 <= self.page_size <= 100:
            raise ValueError("page_size must be from 1 to 100")

    def message(self, cursor: str) -> Message:
        """Return the request for the page at `cursor`."""
        query = {"status": self.status, "type": self.type, "cursor": cursor, "limit": self.page_size}
        given = {name: value for name, value in query.items() if value}
        return Message("GET", f"/jobs?{urlencode(given)}", self.request_id)


def read_submitted(answer: Answer, message: Message) -> SubmittedJob:
    """Read the answer to a job that was sent."""
    content = json_of(answer.body, message.request_id)
    try:
        return SubmittedJob(typed(content["id"], str), typed(content["status"], str))  # type: ignore[arg-type]
    except (KeyError, TypeError):
        raise unexpected(message.request_id) from None


def read_job(answer: Answer, message: Message) -> Job:
    """Read the state of a job."""
    return job_of(json_of(answer.body, message.request_id), message.request_id)


def read_cancelled(answer: Answer, message: Message) -> Job | None:
    """Read the answer to `cancel`: None for a job that was over, and is deleted."""
    return None if answer.status == 204 else read_job(answer, message)


def read_page(answer: Answer, message: Message) -> tuple[tuple[Job, ...], str]:
    """Read a page of a list: its jobs, and the cursor of the next one, "" at the end."""
    content = json_of(answer.body, message.request_id)
    try:
        jobs = tuple(job_of(job, message.request_id) for job in content["jobs"])
        return jobs, typed(content["cursor"] or "", str)
    except (KeyError, TypeError):
        raise unexpected(message.request_id) from None


def job_of(content: Mapping[str, Any], request_id: str) -> Job:
    """Read a job; fields that this client does not know are ignored."""
    try:
        progress = content["progress"]
        return Job(
            id=typed(content["id"], str),
            type=typed(content["type"], str),
            status=typed(content["status"], str),  # type: ignore[arg-type]
            created_at=_time(content["created_at"]),
            updated_at=_time(content["updated_at"]),
            started_at=content["started_at"] and _time(content["started_at"]),
            finished_at=content["finished_at"] and _time(content["finished_at"]),
            progress=Progress(
                done=typed(progress["done"], int),
                total=None if progress["total"] is None else typed(progress["total"], int),
                per_s=float(progress["per_s"]),
                eta_s=None if progress["eta_s"] is None else float(progress["eta_s"]),
            ),
            attempts=typed(content["attempts"], int),
            result=None if content["result"] is None else typed(content["result"], dict),
            error=None if content["error"] is None else typed(content["error"], str),
            metadata=typed(content["metadata"], dict),
        )
    except (KeyError, TypeError, ValueError):
        raise unexpected(request_id) from None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(typed(text, str).replace("Z", "+00:00"))
