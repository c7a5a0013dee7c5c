"""`AsyncClient.jobs`."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

from anyio import to_thread

from .async_http import AsyncHTTP
from .connection import Connection, request_id_of
from .errors import DeadlineExceeded
from .job_messages import (
    Listing,
    ResultFormat,
    check_over,
    delete_message,
    format_of,
    format_said_by,
    get_message,
    read_cancelled,
    read_job,
    read_page,
    read_submitted,
    retry_message,
)
from .messages import LongText
from .part_file import PartFile
from .retry import Deadline, Recovery, check_timeout_s
from .submissions import (
    File,
    FileFormat,
    OnBadRow,
    Preset,
    Priority,
    Sending,
    Submission,
    TableFormat,
    Training,
    TrainingPriority,
)
from .transfers import Events, ResultBytes, ResultRows
from .types import Job, JobRow, JobState, SubmittedJob

# The server sends an event at least every five seconds.
_SILENCE_S = 15.0


class AsyncJobs:
    """The same as `Client.jobs`, for asyncio."""

    def __init__(self, http: AsyncHTTP, connection: Connection) -> None:
        self._http = http
        self._connection = connection

    async def submit(
        self,
        *,
        texts: Iterable[str] | None = None,
        file: File | None = None,
        source: str | None = None,
        name: str | None = None,
        format: FileFormat | None = None,  # noqa: A002 - the name that the server has for it
        text_column: str | int | None = None,
        encoding: str | None = None,
        delimiter: str | None = None,
        no_header: bool = False,
        no_quotes: bool = False,
        on_bad_row: OnBadRow | None = None,
        prefix: str | None = None,
        long_text: LongText | None = None,
        priority: Priority | None = None,
        run_at: datetime | str | None = None,
        every: timedelta | str | None = None,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> SubmittedJob:
        """Send a job: `texts`, a `file` (a path, or a file that is open for bytes), or the URL of a `source`.

        Texts and files are read while they are sent. The worker itself reads a `source`, from a place that the server
        allows. `name` is that of a file that has none of its own; its ending says how the file is laid out, otherwise
        `format` does. The other arguments are those of the server's API. A `run_at` without a time zone is refused.

        All attempts have the same `idempotency_key`, by default a random one, so that they make one job. What can be
        read only once, such as a pipe or a generator, is sent only once. `timeout_s` is the longest time in which
        nothing more arrives.
        """
        submission = Submission(
            request_id=request_id_of(request_id),
            texts=texts,
            file=file,
            source=source,
            file_name=name,
            format=format,
            text_column=text_column,
            encoding=encoding,
            delimiter=delimiter,
            no_header=no_header,
            no_quotes=no_quotes,
            on_bad_row=on_bad_row,
            prefix=prefix,
            long_text=long_text,
            priority=priority,
            run_at=run_at,
            every=every,
            idempotency_key=idempotency_key,
        )
        return await self._send(submission, timeout_s)

    async def train(
        self,
        *,
        name: str,
        file: File | None = None,
        source: str | None = None,
        file_name: str | None = None,
        format: TableFormat | None = None,  # noqa: A002 - the name that the server has for it
        text_column: str | int | None = None,
        label_column: str | int | None = None,
        map: str | None = None,  # noqa: A002 - the same
        encoding: str | None = None,
        delimiter: str | None = None,
        quotes: bool | None = None,
        drop_bad_rows: bool = False,
        base: str | None = None,
        preset: Preset | None = None,
        recipe: Mapping[str, Any] | None = None,
        priority: TrainingPriority | None = None,
        run_at: datetime | str | None = None,
        every: timedelta | str | None = None,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> SubmittedJob:
        """Train a model on the labels in a `file` (a path, or a file that is open for bytes), or in that of a `source`.

        `name` is that of the new model, and `file_name` that of a file that has none of its own. `recipe` has settings
        of the training. The other arguments are those of the server's API. As with `submit`, a repeated attempt makes
        no second job. The worker takes minutes or hours; `wait` waits for it, and `download` fetches the model.
        """
        training = Training(
            request_id=request_id_of(request_id),
            name=name,
            file=file,
            source=source,
            file_name=file_name,
            format=format,
            text_column=text_column,
            label_column=label_column,
            map=map,
            encoding=encoding,
            delimiter=delimiter,
            quotes=quotes,
            drop_bad_rows=drop_bad_rows,
            base=base,
            preset=preset,
            recipe=recipe,
            priority=priority,
            run_at=run_at,
            every=every,
            idempotency_key=idempotency_key,
        )
        return await self._send(training, timeout_s)

    async def _send(self, sending: Sending, timeout_s: float | None) -> SubmittedJob:
        form = await to_thread.run_sync(sending.form)
        message = sending.message(form)
        if form:
            answer = await self._http.upload(form, message, self._connection.timeout_of(timeout_s))
        else:
            answer = await self._http.send(message, self._connection.deadline(timeout_s))
        return read_submitted(answer, message)

    async def get(self, job_id: str, *, timeout_s: float | None = None, request_id: str | None = None) -> Job:
        """Return the state of a job."""
        message = get_message(job_id, request_id_of(request_id))
        return read_job(await self._http.send(message, self._connection.deadline(timeout_s)), message)

    def list(
        self,
        *,
        status: JobState | None = None,
        type: str | None = None,  # noqa: A002 - the name that the server has for it
        page_size: int = 100,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> AsyncIterator[Job]:
        """Yield your jobs, the newest first. They are fetched in pages, as they are needed.

        `timeout_s` applies to each page.
        """
        listing = Listing(request_id_of(request_id), status, type, page_size)
        return self._list(listing, self._connection.timeout_of(timeout_s))

    async def _list(self, listing: Listing, timeout_s: float) -> AsyncIterator[Job]:
        cursor = ""
        while True:
            message = listing.message(cursor)
            jobs, cursor = read_page(await self._http.send(message, Deadline(timeout_s)), message)
            for job in jobs:
                yield job
            if not cursor:
                return

    def events(
        self, job_id: str, *, timeout_s: float | None = None, request_id: str | None = None
    ) -> AsyncIterator[Job]:
        """Yield the state of a job at each change, and at least every five seconds, until it is over.

        If the connection breaks, a new one goes on after the last event. `timeout_s` is how long that may fail.
        """
        events = Events(job_id, request_id_of(request_id))
        return self._events(events, self._connection.timeout_of(timeout_s))

    def _events(self, events: Events, timeout_s: float, limit: Deadline | None = None) -> AsyncGenerator[Job, None]:
        recovery = Recovery(self._connection.policy, timeout_s + _SILENCE_S, silence_s=_SILENCE_S, limit=limit)
        return self._http.receive(events, recovery)

    async def wait(
        self,
        job_id: str,
        timeout_s: float | None = None,
        *,
        on_progress: Callable[[Job], object] | None = None,
        request_id: str | None = None,
    ) -> Job:
        """Wait until a job is over, and return it: completed, failed or cancelled.

        `on_progress` is called with each state, as `events` yields them. Raises `DeadlineExceeded` after `timeout_s`,
        or at most five seconds later; the job itself continues. By default, there is no limit.
        """
        limit = None if timeout_s is None else Deadline(check_timeout_s("timeout_s", timeout_s))
        request_id = request_id_of(request_id)
        events = Events(job_id, request_id)
        async with aclosing(self._events(events, self._connection.timeout_s, limit)) as jobs:
            async for job in jobs:
                if on_progress:
                    on_progress(job)
                if job.is_over:
                    return job
                if limit and limit.left_s() <= 0:
                    break
        raise DeadlineExceeded("the job was not over in time", request_id=request_id)

    def result(
        self, job_id: str, *, timeout_s: float | None = None, request_id: str | None = None
    ) -> AsyncIterator[JobRow]:
        """Yield the rows of a completed job in their order, each with its prediction or its error.

        If the connection breaks, a new one goes on with the next row. `timeout_s` is the longest time without one.
        """
        rows = ResultRows(job_id, request_id_of(request_id))
        return self._http.receive(rows, self._recovery(timeout_s))

    async def download(
        self,
        job_id: str,
        path: str | os.PathLike[str],
        *,
        format: ResultFormat | None = None,  # noqa: A002 - the name that the server has for it
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        """Write the result of a completed job to a file, which has its name only when it is whole.

        The format is that of the file's name, unless it is given. If neither says it, rows are CSV. A model is `tar`.
        If the connection breaks, the file is written again. `timeout_s` is the longest time in which it does not grow.
        """
        chosen = format or format_said_by(path) or format_of(await self.get(job_id, timeout_s=timeout_s))
        content = ResultBytes(job_id, chosen, request_id_of(request_id))
        recovery = self._recovery(timeout_s)
        file = await to_thread.run_sync(PartFile, path)
        try:
            async with aclosing(self._http.receive(content, recovery)) as pieces:
                async for offset, data in pieces:
                    await to_thread.run_sync(file.write, offset, data)
        except BaseException:
            file.discard()
            raise
        await to_thread.run_sync(file.finish)

    async def cancel(self, job_id: str, *, timeout_s: float | None = None, request_id: str | None = None) -> Job | None:
        """Cancel a job, and return it. One that is over is returned as it is.

        None is returned if it ends just before the request arrives, which then deletes it. For this reason, the request
        is not repeated after a connection that broke.
        """
        deadline, request_id = self._connection.deadline(timeout_s), request_id_of(request_id)
        job = await self._look(job_id, deadline, request_id)
        if job.is_over:
            return job
        message = delete_message(job_id, request_id)
        return read_cancelled(await self._http.send(message, deadline), message)

    async def delete(self, job_id: str, *, timeout_s: float | None = None, request_id: str | None = None) -> None:
        """Delete a job that is over, with its result. Raises `InvalidRequest` if it is not over.

        This is not repeated after a connection that broke.
        """
        deadline, request_id = self._connection.deadline(timeout_s), request_id_of(request_id)
        message = delete_message(job_id, request_id)
        check_over(await self._look(job_id, deadline, request_id), message)
        await self._http.send(message, deadline)

    async def _look(self, job_id: str, deadline: Deadline, request_id: str) -> Job:
        message = get_message(job_id, request_id)
        return read_job(await self._http.send(message, deadline), message)

    async def retry(self, job_id: str, *, timeout_s: float | None = None, request_id: str | None = None) -> Job:
        """Try a job again that failed or was cancelled. It goes on after the last row that was scored."""
        message = retry_message(job_id, request_id_of(request_id))
        return read_job(await self._http.send(message, self._connection.deadline(timeout_s)), message)

    def _recovery(self, timeout_s: float | None) -> Recovery:
        return Recovery(self._connection.policy, self._connection.timeout_of(timeout_s))
