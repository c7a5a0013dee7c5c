"""`feedback`, and the ids of predictions that it takes."""

from collections.abc import Iterator

import pytest
from rt_sentiment_client import InvalidRequest, Prediction, Unavailable

from tests.support.both_clients import EITHER, Connect
from tests.support.process import Server, serve
from tests.support.scripted import PREDICTION, problem, respond, scripted


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(backend="mock", feedback="true", max_batch_texts="2") as running:
        yield running


@EITHER
async def test_a_prediction_has_the_id_of_its_request(connect: Connect) -> None:
    replies = (respond(), respond(x_request_id="proxy-1"))
    async with scripted(*replies) as server, connect(server.address) as client:
        results = [await client.predict("good", request_id="mine"), await client.predict("good", request_id="mine")]
        own = await client.predict("good")
    assert [result.request_id for result in results] == ["mine", "proxy-1"]
    assert own.request_id == "proxy-1"
    assert [result.index for result in results] == [0, 0]
    assert results[0] == results[1], "two predictions are equal if they say the same"


@EITHER
async def test_a_prediction_of_a_list_has_its_place_in_it(connect: Connect) -> None:
    async def reply(request, writer):  # type: ignore[no-untyped-def]
        return await respond(content={"predictions": [PREDICTION for _ in request.json["texts"]]})(request, writer)

    async with scripted(reply) as server, connect(server.address) as client:
        results = await client.predict_many(["a", "b", "c"], list_size=2, request_id="many")
    assert [(each.request_id, each.index) for each in results] == [("many-0", 0), ("many-0", 1), ("many-2", 0)]


@EITHER
async def test_feedback_is_sent_with_the_place_of_its_text(connect: Connect) -> None:
    async with scripted(problem(503), respond(204, b"")) as server, connect(server.address) as client:
        await client.feedback("mine", "negative", 3)
    first, second = server.requests
    assert (second.method, second.path) == ("POST", "/feedback")
    assert second.json == first.json == {"request_id": "mine", "label": "negative", "index": 3}
    assert second.headers["x-request-id"] not in ("", "mine")


@EITHER
async def test_a_server_takes_feedback_for_what_it_predicted(connect: Connect, server: Server) -> None:
    async with connect(server.address) as client:
        one = await client.predict("good")
        many = await client.predict_many(["good", "bad", "good"])
        for each in (one, *many):
            assert isinstance(each, Prediction)
            await client.feedback(each.request_id, "neutral", each.index)
        streamed = await client.stream(["good"])
        assert streamed[0].request_id is None
        for request_id, label in (("unknown", "neutral"), (one.request_id, "joy")):
            with pytest.raises(InvalidRequest):
                await client.feedback(request_id, label)


@EITHER
async def test_where_feedback_is_off_the_error_names_the_setting(connect: Connect, mock_server: Server) -> None:
    async with connect(mock_server.address) as client:
        with pytest.raises(Unavailable, match="SENTIMENT_FEEDBACK") as raised:
            await client.feedback("any", "neutral")
    assert raised.value.attempts == 1
