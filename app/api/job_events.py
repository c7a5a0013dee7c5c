"""The events of jobs: one task asks Redis for all jobs that somebody follows."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from fastapi.sse import format_sse_event
from pydantic_core import to_json

from ..errors import NotReady
from ..jobs import Job
from ..logs import log_exception

_ASK_EVERY_S = 0.5
_SEND_EVERY_S = 5.0
# Of the client, after the server has ended the stream, for example because it restarts.
_RECONNECT_MS = 2000


class JobEvents:
    """Follows jobs. `get_many` returns their current states, None for those that are gone."""

    def __init__(
        self, get_many: Callable[[Sequence[str]], Awaitable[list[Job | None]]], is_ending: Callable[[], bool]
    ) -> None:
        self._get_many = get_many
        self._is_ending = is_ending
        self._followers: dict[str, int] = {}
        self._latest: dict[str, Job | None] = {}
        self._asked = asyncio.Event()  # set and replaced after each round
        self._task: asyncio.Task[None] | None = None

    async def follow(
        self, job: Job, last_id: str | None, is_allowed: Callable[[], bool] = lambda: True
    ) -> AsyncGenerator[bytes, None]:
        """Yield an event for each change of `job`, and every few seconds, until it is over.

        `last_id` is that of the last event that the client has got. Ends when the client `is_allowed` no more.
        """
        self._followers[job.id] = self._followers.get(job.id, 0) + 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._ask())
        sent_s = -_SEND_EVERY_S if str(job.version) != last_id else time.monotonic()
        sent = None if str(job.version) != last_id else job.version
        current: Job | None = job
        try:
            while current is not None and not self._is_ending() and is_allowed():
                if current.version != sent or time.monotonic() - sent_s >= _SEND_EVERY_S:
                    yield _event(current)
                    sent, sent_s = current.version, time.monotonic()
                if current.is_over:
                    return
                await self._asked.wait()
                current = self._latest.get(job.id, current)
        finally:
            self._followers[job.id] -= 1
            if not self._followers[job.id]:
                del self._followers[job.id]
                self._latest.pop(job.id, None)

    async def _ask(self) -> None:
        while self._followers:
            await asyncio.sleep(_ASK_EVERY_S)
            job_ids = list(self._followers)
            try:
                jobs = await self._get_many(job_ids)
            except NotReady:  # the streams wait until Redis is back
                continue
            except Exception as error:  # a bug: the streams must not wait for ever
                log_exception("jobs not followed", error)
                continue
            finally:
                self._asked.set()
                self._asked = asyncio.Event()
            self._latest = dict(zip(job_ids, jobs, strict=True))


def _event(job: Job) -> bytes:
    # The loss of a training that diverges is not a number, which JSON does not have.
    data = to_json(job.view(), inf_nan_mode="null").decode()
    return format_sse_event(event="status", data_str=data, id=str(job.version), retry=_RECONNECT_MS)
