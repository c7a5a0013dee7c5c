"""Responses that are read while they arrive, and go on after the connection broke. No I/O."""

import json
import re
from typing import Any, Protocol, TypeVar

from .errors import Unavailable, UnexpectedResponse
from .job_messages import ResultFormat, job_of, job_path
from .messages import Message, json_of, prediction_of, unexpected
from .types import Job, JobRow

T = TypeVar("T")

_MAX_LINE_BYTES = 64 << 20
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")  # a carriage return at the end may be half of one
# The columns that the server adds, at the end of each row, after a prefix that the caller chose.
_ADDED = ("label", "confidence", "scores", "truncated", "error")


class Transfer(Protocol[T]):
    """What is asked in each attempt, and what its response means. `position` grows as new items arrive."""

    position: int
    is_over: bool

    def begin(self) -> Message:
        """Return the request of the next attempt."""
        ...

    def receive(self, data: bytes) -> "list[T]":
        """Return the items that are complete now, without those of earlier attempts."""
        ...

    def end(self) -> None:
        """The response is complete. Raises an error if the transfer is not."""
        ...


class Events:
    """The states of a job as server-sent events, until it is over."""

    def __init__(self, job_id: str, request_id: str) -> None:
        self._path = job_path(job_id, "/events")
        self._request_id = request_id
        self._last_id = ""
        self._rest = b""
        self._fields: dict[str, str] = {}
        self.position = 0
        self.is_over = False

    def begin(self) -> Message:
        self._rest, self._fields = b"", {}
        headers = {"accept": "text/event-stream"} | ({"last-event-id": self._last_id} if self._last_id else {})
        return Message("GET", self._path, self._request_id, more_headers=headers)

    def receive(self, data: bytes) -> list[Job]:
        *lines, self._rest = _LINE_END.split(self._rest + data)
        if len(self._rest) > _MAX_LINE_BYTES:
            raise UnexpectedResponse("a line of the events is too long", request_id=self._request_id)
        jobs = []
        for line in lines:
            if line:
                name, _, value = line.decode("utf-8", "replace").partition(":")
                self._fields[name] = value.removeprefix(" ")
            elif "data" in self._fields:
                jobs.append(self._job())
        return jobs

    def _job(self) -> Job:
        fields, self._fields = self._fields, {}
        job = job_of(json_of(fields["data"].encode(), self._request_id), self._request_id)
        self._last_id = fields.get("id", self._last_id)
        self.position += 1
        self.is_over = job.is_over
        return job

    def end(self) -> None:
        if not self.is_over:
            raise Unavailable("the events ended before the job did", request_id=self._request_id)


class ResultRows:
    """The rows of a result. A new attempt skips those that were delivered."""

    def __init__(self, job_id: str, request_id: str) -> None:
        self._path = job_path(job_id, "/result?format=ndjson")
        self._request_id = request_id
        self._rest = b""
        self._seen = 0  # in this attempt
        self.position = 0
        self.is_over = False

    def begin(self) -> Message:
        self._rest, self._seen = b"", 0
        return Message("GET", self._path, self._request_id)

    def receive(self, data: bytes) -> list[JobRow]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MAX_LINE_BYTES:
            raise UnexpectedResponse("a row of the result is too long", request_id=self._request_id)
        rows = []
        for line in lines:
            self._seen += 1
            if self._seen > self.position:
                rows.append(row_of(line, self._request_id))
        self.position = max(self.position, self._seen)
        return rows

    def end(self) -> None:
        if self._rest:
            raise Unavailable("the result ended within a row", request_id=self._request_id)
        self.is_over = True


class ResultBytes:
    """The bytes of a result, each piece with its offset. A new attempt begins at 0."""

    def __init__(self, job_id: str, format_: ResultFormat, request_id: str) -> None:
        if format_ not in ("ndjson", "csv", "tsv", "parquet", "tar"):
            raise ValueError("format must be ndjson, csv, tsv, parquet or tar")
        self._path = job_path(job_id, f"/result?format={format_}")
        self._request_id = request_id
        self._offset = 0
        self.position = 0
        self.is_over = False

    def begin(self) -> Message:
        self._offset = 0
        return Message("GET", self._path, self._request_id)

    def receive(self, data: bytes) -> list[tuple[int, bytes]]:
        piece = (self._offset, data)
        self._offset += len(data)
        self.position = max(self.position, self._offset)
        return [piece]

    def end(self) -> None:
        self.is_over = True


def row_of(line: bytes, request_id: str) -> JobRow:
    """Read a row of a result as JSON."""
    try:
        content: dict[str, Any] = json.loads(line)
        added = [content.pop(name) for name in [*content][-len(_ADDED) :]]
        prediction = dict(zip(_ADDED, added, strict=True))
    except (ValueError, RecursionError, TypeError, AttributeError):
        raise unexpected(request_id) from None
    if isinstance(error := prediction["error"], str):
        return JobRow(content, None, error)
    return JobRow(content, prediction_of(prediction, None, request_id))
