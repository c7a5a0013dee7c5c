"""What the commands ask of a server."""

import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlencode

from ..console import progress
from ..exits import Failure
from ..score.remote import Server
from .form import Form

_ASK_EVERY_S = 1.0
_PIECE_BYTES = 256 * 1024
_ATTEMPTS = 5  # to upload a file


class JobsClient:
    """Jobs of a server, with the retries of `Server`."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the JSON of a response. Raises `Failure` with what the server says."""
        status, answer = self._server.call(method, path, body)
        if status >= 400:
            raise Failure(str(answer.get("detail")) if isinstance(answer, dict) else f"the server answered {status}")
        return answer

    def submit_url(
        self, url: str, layout: Mapping[str, Any], options: Mapping[str, Any], schedule: Mapping[str, Any]
    ) -> Any:
        body = {"source": {"url": url, **layout}, "options": options, **schedule}
        return self.call("POST", "/jobs/inference", body)

    def upload(self, file: Path, fields: Mapping[str, Any]) -> Any:
        """Send a file. A failure is tried again with the same key, so that there is one job."""
        form = Form(file, {name: str(value).lower() if value is True else value for name, value in fields.items()})
        headers = form.headers | {"Idempotency-Key": secrets.token_hex(16)}
        for attempt in range(_ATTEMPTS):
            try:
                with self._server.stream("POST", "/jobs/inference", form, headers) as response:
                    status, data = response.status, response.read()
            except Failure:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                answer = json.loads(data)
                if status < 400:
                    return answer
                if status not in (429, 502, 503) or attempt == _ATTEMPTS - 1:
                    raise Failure(str(answer.get("detail")))
            time.sleep(2.0**attempt)
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
        job = self.call("GET", f"/jobs/{job_id}")
        while job["progress"]["total"] is None and not _is_over(job):
            time.sleep(_ASK_EVERY_S)
            job = self.call("GET", f"/jobs/{job_id}")
        with progress(job["progress"]["total"], job["progress"]["done"], "rows", quiet=quiet) as advance:
            while not _is_over(job):
                time.sleep(_ASK_EVERY_S)
                job = self.call("GET", f"/jobs/{job_id}")
                advance(job["progress"]["done"])
        return dict(job)

    def download(self, job_id: str, form: str, out: str) -> None:
        """Write a result to a file, which has its name only when it is whole, or to standard output."""
        if out == "-":
            self._fetch(job_id, form, sys.stdout.buffer)
            return
        target = Path(out)
        part = target.with_name(target.name + ".part")
        try:
            with part.open("wb") as stream:
                self._fetch(job_id, form, stream)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def _fetch(self, job_id: str, form: str, stream: BinaryIO) -> None:
        with self._server.stream("GET", f"/jobs/{job_id}/result?format={form}") as response:
            if response.status != 200:
                raise Failure(str(json.loads(response.read()).get("detail")))
            read: Callable[[], bytes] = lambda: response.read(_PIECE_BYTES)  # noqa: E731
            while piece := read():
                stream.write(piece)


def _is_over(job: Mapping[str, Any]) -> bool:
    return job["status"] in ("completed", "failed", "cancelled")
