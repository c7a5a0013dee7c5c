"""A stream in front of a service that does no work."""

import asyncio
import json
from typing import Any

from app.access import Quota
from app.api.bodies import Bodies
from app.api.context import BUSY, begin
from app.api.schemas import Limits
from app.api.stream import PredictStreamEndpoint
from app.errors import RateLimited
from app.serving import Answer, Pending, Query
from app.types import Prediction
from tests.support.client import AsgiClient, scope_of
from tests.support.serving import engine_of, lifecycle_of
from tests.support.waiting import async_until

LIMITS = Limits(max_text_chars=5000, max_batch_texts=3, max_body_bytes=50_000, request_timeout_ms=300_000)
GOOD = Prediction("positive", 0.9, {"negative": 0.1, "positive": 0.9})
ANSWER = {"label": "positive", "confidence": 0.9, "scores": {"negative": 0.1, "positive": 0.9}, "truncated": False}
NDJSON = {"host": "test", "content-type": "application/x-ndjson"}
WINDOW = 8


class FakePending(Pending):
    def __init__(self) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.was_left = False

    @property
    def is_done(self) -> bool:
        return self.answer.done()

    def leave(self) -> None:
        self.was_left = True

    async def result(self) -> Answer:
        return await self.answer


class FakeService:
    """Answers at once, or when the test says so; `errors` come first."""

    model = "fake@1"

    def __init__(self) -> None:
        self.queries: list[Query] = []
        self.errors: list[Exception] = []
        self.waits_ms: list[float] = []
        self.is_slow = False
        self.pending: list[FakePending] = []

    def predicted_wait_ms(self, _caller: str) -> float:
        return self.waits_ms.pop(0) if self.waits_ms else 0.0

    async def begin(self, query: Query) -> Answer | Pending:
        self.queries.append(query)
        if self.errors:
            raise self.errors.pop(0)
        if not self.is_slow:
            return Answer([GOOD], "hit")
        self.pending.append(FakePending())
        return self.pending[-1]

    def finish(self, number: int, error: Exception | None = None) -> None:
        if error:
            self.pending[number].answer.set_exception(error)
        else:
            self.pending[number].answer.set_result(Answer([GOOD], "miss"))


class FakeRate:
    """Has room for so many lines at a time; more comes when the test says so."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.refused = 0
        self.reset_s = 1

    async def take(self, _caller: str, texts: int, *, counted: int = 0) -> Quota:
        passed = self.room >= texts
        self.room -= texts * passed
        self.refused += not passed
        return Quota(10, self.room, self.reset_s, passed=passed)

    def refusal(self, _quota: Quota) -> RateLimited:
        return RateLimited("slow down", 0.0)


class FakeObserver:
    def __init__(self) -> None:
        self.streams = 0
        self.statuses: list[int] = []

    def stream_changed(self, streams: int) -> None:
        self.streams += streams

    def line_answered(self, status: int) -> None:
        self.statuses.append(status)


class StreamClient(AsgiClient):
    """Sends lines whenever the test wants, and reads only while it `reads`."""

    def __init__(self) -> None:
        super().__init__(b"", complete=False)
        self.sent = self.taken = 0
        self.reads = asyncio.Event()
        self.reads.set()

    def write(self, *lines: Any, more: bool = True) -> None:
        data = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
        self.sent += 1
        self._messages.put_nowait({"type": "http.request", "body": data, "more_body": more})

    async def receive(self) -> dict[str, Any]:
        message = await super().receive()
        self.taken += 1
        return message

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        await super().send(message)

    @property
    def answers(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]


class StreamBench:
    def __init__(self, rate: FakeRate | None = None, **options: Any) -> None:
        self.service = FakeService()
        self.lifecycle = lifecycle_of(self.service)
        self.lifecycle.engine = engine_of()
        self.lifecycle.engine.texts_at_once = WINDOW // 2
        self.bodies = Bodies(20_000)
        self.observer = FakeObserver()
        self.quota = Quota(10, 9, 7, passed=True) if rate else None
        self.busy: list[bool] = []
        options = {"idle_s": 1000, "max_wait_ms": 100} | options
        self.endpoint = PredictStreamEndpoint(
            self.lifecycle,
            LIMITS,
            self.bodies,
            rate,  # type: ignore[arg-type]
            observer=self.observer,
            **options,
        )
        self.client = StreamClient()

    def start(self, query: str = "", headers: dict[str, str] | None = None, **fields: Any) -> "asyncio.Task[None]":
        scope = scope_of(headers=NDJSON | (headers or {}), query_string=query.encode(), **fields)
        self.context = begin(scope)
        self.context.quota = self.quota
        scope["state"][BUSY] = self.busy.append
        self.state = scope["state"]
        return asyncio.create_task(self.endpoint(scope, self.client.receive, self.client.send))

    async def answer(self, *lines: Any, query: str = "", headers: dict[str, str] | None = None) -> list[Any]:
        """Send these lines as a whole request, and return the answers."""
        task = self.start(query, headers)
        self.client.write(*lines, more=False)
        await task
        return self.client.answers

    def check_end(self) -> None:
        """Check that nothing of a stream is left."""
        assert (self.lifecycle.in_flight, self.bodies.held_bytes, self.observer.streams) == (0, 0, 0)
        assert all(task is asyncio.current_task() or task.done() for task in asyncio.all_tasks())

    async def answers(self, count: int) -> list[Any]:
        await async_until(lambda: len(self.client.answers) >= count)
        return self.client.answers


def failure(id_: Any, status: int, detail: str) -> dict[str, Any]:
    return {"id": id_, "error": {"status": status, "detail": detail}}


def texts(count: int) -> list[dict[str, Any]]:
    return [{"id": number, "text": f"text {number}"} for number in range(count)]
