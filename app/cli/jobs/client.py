"""What the commands ask of a server."""

import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from ..console import progress
from ..exits import Failure
from ..score.answers import detail_of, json_of
from ..score.remote import Server
from .form import Form

_ASK_EVERY_S = 1.0
_PIECE_BYTES = 256 * 1024
_ATTEMPTS = 5  # to upload a file
_MAX_PAUSE_S = 60.0  # if the server asks for more, as it does without Redis, waiting does not help


class JobsClient:
    """Jobs of a server, with the retries of `Server`."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the JSON of a response. Raises `Failure` with what the server says."""
        status, answer = self._server.call(method, path, body)
        return self._checked(status, answer)

    def _checked(self, status: int, answer: Any) -> Any:
        """Return the answer, unless it is an error, or not from our server."""
        if status >= 400 and isinstance(answer, dict):
            raise Failure(detail_of(answer))
        if status >= 400 or not (status == 204 or isinstance(answer, dict)):
            raise Failure(f"{self._server.url}: no rt-sentiment server answers there ({status})")
        return answer

    def submit_url(self, kind: str, url: str, layout: Mapping[str, Any], others: Mapping[str, Any]) -> Any:
        return self.call("POST", f"/jobs/{kind}", {"source": {"url": url, **layout}, **others})

    def upload(self, kind: str, file: Path, fields: Mapping[str, Any]) -> Any:
        """Send a file. A failure is tried again with the same key, so that there is one job."""
        form = Form(
            file, {name: str(value).lower() if isinstance(value, bool) else value for name, value in fields.items()}
        )
        headers = form.headers | {"Idempotency-Key": secrets.token_hex(16)}
        for attempt in range(_ATTEMPTS):
            pause_s = 2.0**attempt
            try:
                with self._server.stream("POST", f"/jobs/{kind}", form, headers) as response:
                    status, data = response.status, response.read()
                    after = response.getheader("Retry-After", "")
            except Failure:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                pause_s = float(after) if after.isdecimal() else pause_s
                if status not in (429, 502, 503) or attempt == _ATTEMPTS - 1 or pause_s > _MAX_PAUSE_S:
                    return self._checked(status, json_of(data))
            time.sleep(pause_s)
        raise AssertionError

    def list(self, filters: Mapping[str, str | None], limit: int) -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None and len(jobs) < limit:
            query = {name: value for name, value in filters.items() if value}
            query |= {"limit": str(min(100, limit - len(jobs))), "cursor": cursor}
            page = self.call("GET", f"/jobs?{urlencode(query)}")
            jobs += page["jobs"]
            cursor = page["cursor"]
        return jobs

    def wait(self, job_id: str, *, quiet: bool) -> dict[str, Any]:
        """Show the progress of a job until it is over, and return it."""
        job = self.call("GET", path_of(job_id))
        while job["progress"]["total"] is None and not _is_over(job):
            time.sleep(_ASK_EVERY_S)
            job = self.call("GET", path_of(job_id))
        unit = "steps" if job["type"] == "training" else "rows"
        with progress(job["progress"]["total"], job["progress"]["done"], unit, quiet=quiet) as advance:
            while not _is_over(job):
                time.sleep(_ASK_EVERY_S)
                job = self.call("GET", path_of(job_id))
                advance(job["progress"]["done"])
        return dict(job)

    def result(self, job_id: str, form: str | None) -> Iterator[bytes]:
        """Yield the pieces of a result."""
        query = f"?format={form}" if form else ""
        with self._server.stream("GET", f"{path_of(job_id)}/result{query}") as response:
            if response.status != 200:
                self._checked(response.status, json_of(response.read()))
                raise Failure(f"{self._server.url}: unexpected status {response.status}")
            while piece := response.read(_PIECE_BYTES):
                yield piece

    def cancel(self, job_id: str) -> str:
        """Cancel a job, and return its status. Raises `Failure` if it is over: the same request would delete it."""
        job = self.call("GET", path_of(job_id))
        if _is_over(job):
            raise Failure(f"{job_id} is over ({job['status']}); to delete it: rt-sentiment jobs delete {job_id}")
        cancelled = self._delete(job_id)
        return str(cancelled["status"]) if cancelled else "it has ended meanwhile, and is deleted"

    def delete(self, job_id: str) -> None:
        """Delete a job that is over, with its result. Raises `Failure` for another one: it would only be cancelled."""
        job = self.call("GET", path_of(job_id))
        if not _is_over(job):
            raise Failure(f"{job_id} is {job['status']}; cancel it first: rt-sentiment jobs cancel {job_id}")
        self._delete(job_id)

    def _delete(self, job_id: str) -> Any:
        """Cancel or delete. It is sent once: after a reply that was lost, a second one would delete the job."""
        with self._server.stream("DELETE", path_of(job_id)) as response:
            return self._checked(response.status, json_of(response.read()))


def path_of(job_id: str) -> str:
    """Return the path of a job. What cannot be in a path is escaped, and the server then has no such job."""
    return f"/jobs/{quote(job_id, safe='')}"


def _is_over(job: Mapping[str, Any]) -> bool:
    return job["status"] in ("completed", "failed", "cancelled")
