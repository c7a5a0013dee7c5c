"""From the bytes of a request to those of its response, with a service that does no work."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any
from unittest.mock import Mock

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.access import Quota
from app.api.bodies import Bodies
from app.api.context import begin
from app.api.invalid import BodyInvalid
from app.api.predict import PredictBatchEndpoint, PredictEndpoint
from app.api.schemas import Limits
from app.errors import (
    BackendError,
    DeadlineExceeded,
    InvalidInput,
    NotReady,
    Overloaded,
    RateLimited,
    SentimentError,
    TextTooLong,
)
from app.serving import Answer, Pending, Query
from app.serving.statistics import Statistics
from app.types import Prediction
from tests.support.client import JSON, AsgiClient, scope_of
from tests.support.serving import lifecycle_of
from tests.support.waiting import async_until

LIMITS = Limits(max_text_chars=100, max_batch_texts=3, max_body_bytes=5000, request_timeout_ms=1000)
GOOD = Prediction("positive", 0.91239, {"negative": 0.00761, "neutral": 0.08, "positive": 0.91239})


class FakePending(Pending):
    def __init__(self, answer: "asyncio.Future[Answer]") -> None:
        self._answer = answer

    async def result(self) -> Answer:
        return await self._answer


class FakeService:
    """Answers with the same prediction for each text, at once or once `answer` is set."""

    model = "m@1"

    def __init__(self) -> None:
        self.queries: list[Query] = []
        self.error: Exception | None = None
        self.answer: asyncio.Future[Answer] | None = None
        self.results: list[Prediction | SentimentError] | None = None

    async def begin(self, query: Query) -> Answer | Pending:
        self.queries.append(query)
        if self.error:
            raise self.error
        if self.answer:
            return FakePending(self.answer)
        return Answer(self.results or [GOOD] * len(query.texts), "hit", 1.0, 2.0, 3.0)


class FakeRate:
    def __init__(self, *, passed: bool) -> None:
        self.passed = passed
        self.taken: list[tuple[str, int, int]] = []

    async def take(self, caller: str, texts: int, *, counted: int = 0) -> Quota:
        self.taken.append((caller, texts, counted))
        return Quota(10, 5, 7, passed=self.passed)

    def refusal(self, quota: Quota) -> RateLimited:
        return RateLimited("slow down", quota.reset_s)


class Bench:
    def __init__(self, rate: FakeRate | None = None) -> None:
        self.quota = rate and Quota(10, 9, 7, passed=True)  # of the text that the middleware has counted
        self.service = FakeService()
        self.lifecycle = lifecycle_of(self.service)
        self.version = self.lifecycle.registry.models["m"].versions[0]
        self.bodies = Bodies(LIMITS.max_body_bytes)
        self.single = PredictEndpoint(self.lifecycle, LIMITS, self.bodies, rate)  # type: ignore[arg-type]
        self.batch = PredictBatchEndpoint(self.lifecycle, LIMITS, self.bodies, rate)  # type: ignore[arg-type]

    async def post(
        self, body: Any, headers: Mapping[str, str] | None = None, client: AsgiClient | None = None
    ) -> AsgiClient:
        """Send a body to the endpoint that it is meant for; return the client once it has a response."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        client = client or AsgiClient(data)
        scope = scope_of(headers=JSON | dict(headers or {}))
        self.context = begin(scope)
        self.context.quota = self.quota
        endpoint = self.batch if b'"texts"' in data else self.single
        await endpoint(scope, client.receive, client.send)
        assert self.lifecycle.in_flight == 0
        return client


async def test_one_text_is_one_prediction() -> None:
    bench = Bench()
    client = await bench.post({"text": "good"})
    assert client.status == 200
    assert client.json == {
        "label": "positive",
        "confidence": 0.9124,
        "scores": {"negative": 0.0076, "neutral": 0.08, "positive": 0.9124},
        "truncated": False,
    }
    assert client.headers == {
        "content-type": "application/json",
        "cache-control": "no-store",
        "x-cache": "hit",
        "content-length": str(len(client.body)),
    }
    assert bench.context.timings_ms == (1.0, 2.0, 3.0)
    assert bench.context.model == "m@1"


async def test_a_list_is_as_many_predictions() -> None:
    client = await Bench().post({"texts": ["a", "b"], "top_k": 1})
    assert [prediction["scores"] for prediction in client.json["predictions"]] == [{"positive": 0.9124}] * 2


async def test_options_reach_the_service() -> None:
    bench = Bench()
    await bench.post({"text": "a", "truncate": False, "long_text": "window"}, {"x-request-timeout-ms": "50"})
    await bench.post({"texts": ["a", "b"]})
    first, second = bench.service.queries
    assert (first.texts, first.timeout_ms, first.truncate, first.long_text) == (["a"], 50, False, "window")
    assert (second.texts, second.timeout_ms, second.truncate, second.long_text) == (["a", "b"], 1000, True, "truncate")
    assert (first.location_of(0), second.location_of(1)) == (("body", "text"), ("body", "texts", 1))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", BodyInvalid),
        (b"{", BodyInvalid),
        (b"[]", BodyInvalid),
        ({"text": ""}, BodyInvalid),
        ({"text": 1}, BodyInvalid),
        ({"text": "a", "extra": 1}, BodyInvalid),
        ({"text": "a", "top_k": 0}, BodyInvalid),
        ({"text": "a", "top_k": True}, BodyInvalid),
        (b'{"text": "\\ud800"}', BodyInvalid),
        (b'{"text": "\xff"}', BodyInvalid),
        ({"texts": []}, BodyInvalid),
        ({"texts": ["a", ""]}, BodyInvalid),
        ({"texts": list("abcd")}, TextTooLong),
        ({"text": "a" * 3000}, TextTooLong),
        ({"texts": ["a" * 6000]}, TextTooLong),
    ],
)
async def test_an_invalid_body_does_not_reach_the_service(body: Any, error: type[Exception]) -> None:
    bench = Bench()
    with pytest.raises(error):
        await bench.post(body)
    assert bench.service.queries == []
    assert bench.lifecycle.in_flight == 0


async def test_a_whole_float_is_an_integer() -> None:
    assert len((await Bench().post({"text": "a", "top_k": 2.0})).json["scores"]) == 2


async def test_invalid_headers_do_not_reach_the_service() -> None:
    bench = Bench()
    with pytest.raises(HTTPException):
        await bench.post({"text": "a"}, {"content-type": "text/plain"})
    with pytest.raises(InvalidInput):
        await bench.post({"text": "a"}, {"x-request-timeout-ms": "soon"})
    assert bench.service.queries == []


async def test_a_partial_list_has_each_result_in_its_place() -> None:
    bench = Bench()
    client = await bench.post({"texts": [1, "a", "\ud800"], "partial": True, "top_k": 1})
    first, second, third = client.json["predictions"]
    assert first == {"error": {"status": 422, "detail": "the text is not a string"}}
    assert second["scores"] == {"positive": 0.9124}
    assert third == {"error": {"status": 422, "detail": "the text has an incomplete surrogate pair"}}
    (query,) = bench.service.queries
    assert (query.texts, query.partial) == (["a"], True)


async def test_errors_of_the_service_take_the_places_of_their_texts(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.service.results = [TextTooLong("too long"), GOOD, BackendError("internal words")]
    client = await bench.post({"texts": ["a", "b", "c"], "partial": True})
    assert [each.get("label", each.get("error")) for each in client.json["predictions"]] == [
        {"status": 413, "detail": "too long"},
        "positive",
        {"status": 500, "detail": "the model failed on this text"},
    ]
    assert [vars(record)["fields"]["texts"] for record in caplog.records if record.msg == "prediction failed"] == [1]


@pytest.mark.parametrize(
    "body",
    [
        {"texts": ["a", 1]},
        {"texts": ["a", 1], "partial": False},
        {"texts": ["a", 1], "partial": "true"},
        {"texts": ["a", 1], "partial": True, "extra": 1},
        {"texts": [], "partial": True},
        b'{"texts": ["a", 1], "partial": true',
        b'["texts", {"partial": true}]',
        b'{"texts": ["\xff", 1], "partial": true}',
    ],
)
async def test_an_invalid_partial_request_does_not_reach_the_service(body: Any) -> None:
    bench = Bench()
    with pytest.raises(BodyInvalid):
        await bench.post(body)
    assert bench.service.queries == []


@pytest.mark.parametrize("status", ["loading", "degraded", "draining"])
async def test_a_service_that_is_not_ready_gets_no_query(status: Any) -> None:
    bench = Bench()
    bench.lifecycle.status = status
    with pytest.raises(NotReady):
        await bench.post({"text": "a"})
    assert bench.service.queries == []


async def test_the_rest_of_a_list_counts_for_the_rate_limit() -> None:
    rate = FakeRate(passed=True)
    bench = Bench(rate)
    await bench.post({"text": "a"})
    await bench.post({"texts": ["a"]})
    await bench.post({"texts": ["a", "b", "c"]})
    await bench.post({"texts": ["a", 1], "partial": True})
    assert rate.taken == [("192.0.2.1", 3, 1), ("192.0.2.1", 2, 1)]
    assert bench.context.quota


async def test_a_list_does_not_count_while_the_storage_is_unreachable() -> None:
    rate = FakeRate(passed=False)
    bench = Bench(rate)
    bench.quota = None
    assert (await bench.post({"texts": ["a", "b"]})).status == 200
    assert rate.taken == []


async def test_a_list_over_the_rate_limit_does_not_reach_the_service() -> None:
    bench = Bench(FakeRate(passed=False))
    with pytest.raises(RateLimited):
        await bench.post({"texts": ["a", "b"]})
    assert bench.service.queries == []
    assert bench.context.quota
    assert bench.context.quota.reset_s == 7


@pytest.mark.parametrize("waits", [True, False])
async def test_an_error_of_the_service_ends_the_request(waits: bool) -> None:
    bench = Bench()
    error = BackendError("failed")
    if waits:
        bench.service.answer = asyncio.get_running_loop().create_future()
        bench.service.answer.set_exception(error)
    else:
        bench.service.error = error
    with pytest.raises(BackendError):
        await bench.post({"text": "a"})
    assert bench.lifecycle.in_flight == 0


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (None, (1, 0)),
        (BackendError("failed"), (1, 1)),
        (DeadlineExceeded("late"), (1, 1)),
        (TextTooLong("long"), (0, 0)),
        (Overloaded("full", 1.0), (0, 0)),
        (ClientDisconnect(), (0, 0)),
    ],
)
async def test_only_what_a_version_answers_or_fails_on_counts(error: Exception | None, counts: tuple[int, int]) -> None:
    bench = Bench()
    bench.service.error = error
    statistics = bench.version.statistics = Statistics(("negative", "neutral", "positive"), Mock())
    with nullcontext() if error is None else pytest.raises(type(error)):
        await bench.post({"text": "a"})
    assert (statistics.requests, statistics.errors) == counts
    assert (statistics.recent().requests, statistics.recent().errors) == counts


async def test_a_request_is_in_flight_until_its_answer_comes() -> None:
    bench = Bench()
    bench.service.answer = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(bench.post({"text": "a"}))
    await async_until(lambda: bench.lifecycle.in_flight == 1)
    bench.service.answer.set_result(Answer([GOOD], "miss"))
    client = await task
    assert client.headers["x-cache"] == "miss"
    assert bench.lifecycle.in_flight == 0


async def test_a_client_that_leaves_cancels_its_query() -> None:
    bench = Bench()
    bench.service.answer = asyncio.get_running_loop().create_future()
    client = AsgiClient(b'{"text": "a"}')
    task = asyncio.create_task(bench.post(b'{"text": "a"}', client=client))
    await async_until(lambda: bench.lifecycle.in_flight == 1)
    client.leave()
    with pytest.raises(ClientDisconnect):
        await task
    assert bench.service.answer.cancelled()
    assert client.received == []
    assert bench.lifecycle.in_flight == 0
