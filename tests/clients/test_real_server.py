"""Both clients against a real server."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rt_sentiment_client import (
    DeadlineExceeded,
    InvalidRequest,
    InvalidText,
    Prediction,
    ServerError,
    TextTooLong,
    Unauthorized,
)

from app.access import add_key
from tests.support.both_clients import EITHER, Connect
from tests.support.process import Server, serve
from tests.support.waiting import HANG_S

PATIENT = {"timeout_s": HANG_S, "attempt_timeout_s": HANG_S}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.yaml"


@pytest.fixture(scope="module")
def key(keys: Path) -> str:
    return add_key(keys, "tests")


@pytest.fixture(scope="module")
def strict(keys: Path, key: str) -> Iterator[Server]:
    """A server with low limits, keys, and a path prefix."""
    limits = {"max_batch_texts": "5", "max_text_chars": "50", "max_body_bytes": "2000"}
    with serve(backend="mock", api_keys_file=str(keys), root_path="/sentiment", cache_entries="0", **limits) as running:
        yield running


@EITHER
async def test_a_prediction_is_that_of_the_server(connect: Connect, mock_server: Server) -> None:
    async with connect(mock_server.address, **PATIENT) as client:
        result = await client.predict("a good day", top_k=2, request_id="client-1")
        info = await client.info()
        assert info.labels == ("negative", "neutral", "positive")
    expected = mock_server.post({"text": "a good day", "top_k": 2}).json()
    fields = (expected["label"], expected["confidence"], expected["scores"], expected["truncated"])
    assert result == Prediction(*fields, model=f"{info.model}@{info.model_version}")
    assert mock_server.wait_for("request", request_id="client-1")["status"] == 200


@EITHER
async def test_the_server_refuses_what_is_wrong(connect: Connect, mock_server: Server) -> None:
    async with connect(mock_server.address, **PATIENT) as client:
        for text in (" ", "", 5):
            with pytest.raises(InvalidText):
                await client.predict(text)
        with pytest.raises(TextTooLong):
            await client.predict("x" * 10_001)
        with pytest.raises(TextTooLong):
            await client.predict("word " * 1900, truncate=False)
        with pytest.raises(InvalidRequest) as raised:
            await client.predict("good", top_k=0)
        assert type(raised.value) is InvalidRequest
        with pytest.raises(ServerError):
            await client.predict("[fail]")
        with pytest.raises(DeadlineExceeded):
            await client.predict(f"[slow] once with {connect.__name__}", timeout_s=0.2)


@EITHER
async def test_a_wrong_path_is_an_invalid_request(connect: Connect, mock_server: Server) -> None:
    async with connect(f"{mock_server.address}/elsewhere", **PATIENT) as client:
        with pytest.raises(InvalidRequest, match="does not exist"):
            await client.predict("good")


@EITHER
@pytest.mark.parametrize("method", ["predict_many", "stream"])
async def test_many_texts_get_their_own_predictions_and_errors(
    connect: Connect, mock_server: Server, method: str
) -> None:
    texts: list[object] = [f"{'good' if number % 2 else 'bad'} {number}" for number in range(300)]
    texts[7:7] = [" ", "half \ud83d", None, "x" * 10_001]
    texts[200:200] = ["[fail]"]
    async with connect(mock_server.address, **PATIENT) as client:
        results = await getattr(client, method)(texts, on_error="return")
    failed = {number: type(result) for number, result in enumerate(results) if isinstance(result, Exception)}
    assert failed == {7: InvalidText, 8: InvalidText, 9: InvalidText, 10: TextTooLong, 200: ServerError}
    labels = [(text, result.label) for text, result in zip(texts, results, strict=True) if hasattr(result, "label")]
    assert len(labels) == 300
    assert all(label == ("positive" if str(text).startswith("good") else "negative") for text, label in labels)


@EITHER
@pytest.mark.parametrize("method", ["predict_many", "stream"])
async def test_many_texts_fit_a_server_with_low_limits_and_a_prefix(
    connect: Connect, strict: Server, key: str, method: str
) -> None:
    texts = [f"good {'ä' * 40} {number}" for number in range(40)]
    texts[3], texts[30] = "x" * 51, "x" * 1800
    async with connect(f"{strict.address}/sentiment", api_key=key, **PATIENT) as client:
        results = await getattr(client, method)(texts, on_error="return")
    assert isinstance(results.pop(30), TextTooLong)  # its line is too long, too
    assert isinstance(results.pop(3), TextTooLong)
    assert [result.label for result in results] == ["positive"] * 38


@EITHER
async def test_lists_are_split_if_the_limits_are_not_known(connect: Connect, strict: Server, key: str) -> None:
    async with connect(f"{strict.address}/sentiment", api_key=key, **PATIENT) as client:
        client.client._known_limits = _unknown if connect.__name__ == "InTheLoop" else lambda: None
        results = await client.predict_many([f"good {number}" for number in range(40)])
    assert [result.label for result in results] == ["positive"] * 40


async def _unknown() -> None:
    return None


@EITHER
async def test_a_missing_and_a_wrong_key_are_unauthorized(connect: Connect, strict: Server) -> None:
    for key, status in ((None, 401), ("rts_wrong", 403)):
        async with connect(f"{strict.address}/sentiment", api_key=key, **PATIENT) as client:
            with pytest.raises(Unauthorized) as raised:
                await client.predict("good")
            assert raised.value.status == status
            with pytest.raises(Unauthorized):
                await client.predict_many(["good"], on_error="return")
            with pytest.raises(Unauthorized):
                await client.stream(["good"], on_error="return")


@EITHER
async def test_errors_never_contain_the_text(connect: Connect, mock_server: Server) -> None:
    secret = "hunter2"
    shown = []
    async with connect(mock_server.address, **PATIENT) as client:
        calls = [
            client.predict(f"{secret} [fail]"),
            client.predict(f"{secret} {'x' * 10_000}"),
            client.predict(f"{secret} \ud83d"),
            client.predict(secret, top_k=0),
            client.predict(f"{secret} [slow] {connect.__name__}", timeout_s=0.2),
            client.predict_many([f"{secret} [fail]"]),
            client.stream([f"{secret} [fail]"]),
            client.stream([secret], top_k=0),
        ]
        for call in calls:
            with pytest.raises(Exception) as raised:  # noqa: PT011 - each has its own type
                await call
            error: BaseException | None = raised.value
            while error:
                shown.append(f"{error!r} {error}")
                error = error.__cause__
    assert len(shown) >= 6
    assert not re.search(secret, " ".join(shown))
