"""Requests and responses of jobs as bytes. No I/O."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

from .errors import InvalidRequest
from .messages import Answer, Message, json_of, typed, unexpected
from .types import Job, JobState, Progress, SubmittedJob

ResultFormat = Literal["ndjson", "csv", "tsv", "parquet", "tar"]
_ENDINGS: dict[str, ResultFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
_ENDINGS |= {".parquet": "parquet", ".pq": "parquet", ".tar": "tar"}


def job_path(job_id: str, below: str = "") -> str:
    """Return a path of a job. What cannot be in a path is escaped, and the server then has no such job."""
    if not isinstance(job_id, str) or not job_id:
        raise ValueError("the id of a job must be a string, and not empty")
    return f"/jobs/{quote(job_id, safe='')}{below}"


def get_message(job_id: str, request_id: str) -> Message:
    return Message("GET", job_path(job_id), request_id)


def delete_message(job_id: str, request_id: str) -> Message:
    """Return the request that cancels a job, or deletes one that is over. A second one could delete the first's job."""
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
    """Read the answer to `cancel`: None for a job that has ended since it was looked at, and is deleted."""
    return None if answer.status == 204 else read_job(answer, message)


def check_over(job: Job, message: Message) -> None:
    """Raise `InvalidRequest` unless a job may be deleted."""
    if not job.is_over:
        raise InvalidRequest(f"the job is {job.status}; cancel it before you delete it", request_id=message.request_id)


def format_said_by(path: str | os.PathLike[str]) -> ResultFormat | None:
    """Return the format that the name of a file says, or None."""
    name = os.fspath(path).lower()
    if name.endswith(".gz"):
        raise ValueError("a result is not compressed: leave out .gz, or give the format")
    return _ENDINGS.get(Path(name).suffix)


def format_of(job: Job) -> ResultFormat:
    """Return the format of a result if nothing says another one."""
    return "tar" if job.type == "training" else "csv"


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
