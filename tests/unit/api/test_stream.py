"""The lines of a stream and its options, with a service that does no work."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from app.api.invalid import BodyInvalid
from app.errors import BackendError, DeadlineExceeded, InvalidInput, NotReady
from tests.support.stream_bench import ANSWER, StreamBench, failure, texts
from tests.support.waiting import async_until


@pytest.fixture
async def bench() -> AsyncIterator[StreamBench]:
    bench = StreamBench()
    yield bench
    bench.check_end()


async def test_each_line_has_an_answer_with_its_id(bench: StreamBench) -> None:
    ids = [0, -1.5, "a", "é\n", True, None, 2**70, "x" * 256]
    assert await bench.answer(*({"id": id_, "text": "good"} for id_ in ids)) == [{"id": id_} | ANSWER for id_ in ids]
    assert bench.client.status == 200
    assert bench.client.headers["content-type"] == "application/x-ndjson"
    assert bench.context.lines == {"lines": 8, "failed": 0}
    assert bench.observer.statuses == [200] * 8


async def test_a_request_without_lines_has_no_answers(bench: StreamBench) -> None:
    assert await bench.answer(b"\n \r\n") == []


MUST = "Input should be a string of at most 256 characters, a number, true, false or null"


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"nonsense", failure(None, 400, "the line is not valid JSON, at column 2")),
        (b'{"id": 1, "text": "a"', failure(1, 400, "the line is not valid JSON, at column 21")),
        (b'{"id": 1, "text": "\xff"}', failure(1, 400, "the line is not valid JSON: its encoding is not UTF-8")),
        (b"[1]", failure(None, 422, "Input should be an object")),
        (b'{"id": 1}', failure(1, 422, "text: Field required")),
        (b'{"text": 5, "id": "a"}', failure("a", 422, "text: Input should be a valid string")),
        (b'{"id": 1, "text": ""}', failure(1, 422, "text: String should have at least 1 character")),
        (b'{"id": 1, "text": "a", "secret": 1}', failure(1, 422, "unknown field; expected id, text")),
        (b'{"id": [1], "text": "a"}', failure(None, 422, f"id: {MUST}")),
        (b'{"id": NaN, "text": "a"}', failure(None, 422, f"id: {MUST}")),
        (b'{"id": "%b", "text": "a"}' % (b"x" * 257), failure(None, 422, f"id: {MUST}")),
        (b'{"id": 1, "text": "\\ud83d"}', failure(1, 422, "the text has an incomplete surrogate pair")),
        (
            b'{"id": "\\ud83d", "text": "a"}',
            failure(None, 400, "the line is not valid JSON: incomplete escape or surrogate pair, at column 15"),
        ),
        (b'{"text": "%b"}' % (b"x" * 60_000), failure(None, 413, "the line is larger than 50000 bytes")),
        (b'{"id": 1, "text": [%b0]}' % (b"0," * 5000), failure(1, 422, "text: Input should be a valid string")),
    ],
)
async def test_the_stream_goes_on_after_a_line_that_is_not_valid(
    bench: StreamBench, line: bytes, answer: dict[str, Any]
) -> None:
    good = {"id": 0, "text": "good"}
    assert await bench.answer(good, line + b"\n", good) == [{"id": 0} | ANSWER, answer, {"id": 0} | ANSWER]
    assert bench.context.lines == {"lines": 3, "failed": 1}
    assert len(bench.service.queries) == 2


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (InvalidInput("the text has no visible character"), 422, "the text has no visible character"),
        (BackendError("secret"), 500, "the model failed on this text"),
        (ValueError("secret"), 500, "the model failed on this text"),
    ],
)
async def test_an_error_of_the_service_is_that_of_its_line(
    bench: StreamBench, error: Exception, status: int, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.service.errors = [error]
    first, second = await bench.answer(*texts(2))
    assert (first, second["label"]) == (failure(0, status, detail), "positive")
    assert "secret" not in caplog.text


async def test_a_failing_model_is_logged_once(bench: StreamBench, caplog: pytest.LogCaptureFixture) -> None:
    bench.service.is_slow = True
    task = bench.start()
    bench.client.write(*texts(3), more=False)
    await async_until(lambda: len(bench.service.pending) == 3)
    for number, error in enumerate((BackendError("no"), DeadlineExceeded("no result"), BackendError("no"))):
        bench.service.finish(number, error)
    await task
    assert [answer["error"]["status"] for answer in bench.client.answers] == [500, 504, 500]
    assert [record.getMessage() for record in caplog.records].count("prediction failed") == 1


async def test_options_come_in_the_query(bench: StreamBench) -> None:
    (answer,) = await bench.answer(*texts(1), query="top_k=1&truncate=false&long_text=window&explain=false&top_k=1")
    (query,) = bench.service.queries
    assert answer["scores"] == {"positive": 0.9}
    assert (query.truncate, query.long_text, query.timeout_ms) == (False, "window", 300_000)


@pytest.mark.parametrize(
    "query", ["top_k=0", "top_k=x", "truncate=1", "truncate=", "secret=1", "long_text=no", "top_k=[1]"]
)
async def test_an_option_that_is_not_valid_fails_the_request(bench: StreamBench, query: str) -> None:
    with pytest.raises(BodyInvalid) as raised:
        await bench.answer(*texts(1), query=query)
    assert raised.value.part == "query"
    assert bench.client.status is None


@pytest.mark.parametrize(("query", "expected"), [("explain=true", "no explanations"), ("a=1&" * 40, "parameters")])
async def test_what_a_stream_cannot_do_fails_the_request(bench: StreamBench, query: str, expected: str) -> None:
    with pytest.raises(InvalidInput, match=expected):
        await bench.answer(*texts(1), query=query)


@pytest.mark.parametrize(
    ("media_type", "passes"),
    [
        ("application/x-ndjson", True),
        ("Application/NDJSON; charset=utf-8", True),
        ("application/jsonl", True),
        ("application/json", False),
        ("text/plain", False),
    ],
)
async def test_the_content_type_must_be_ndjson(bench: StreamBench, media_type: str, passes: bool) -> None:
    headers = {"content-type": media_type}
    if passes:
        assert len(await bench.answer(*texts(1), headers=headers)) == 1
        return
    with pytest.raises(HTTPException, match="application/x-ndjson"):
        await bench.answer(*texts(1), headers=headers)


async def test_http_1_0_has_no_streams(bench: StreamBench) -> None:
    with pytest.raises(HTTPException) as raised:
        await bench.start(http_version="1.0")
    assert raised.value.status_code == 505


async def test_before_the_model_is_loaded_a_stream_is_refused(bench: StreamBench) -> None:
    bench.lifecycle.status = "loading"
    with pytest.raises(NotReady):
        await bench.answer(*texts(1))
