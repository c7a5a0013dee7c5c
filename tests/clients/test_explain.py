"""`explain`, by the contract."""

from typing import Any

import pytest
from rt_sentiment_client import ExplainedPrediction, InvalidRequest, UnexpectedResponse, WordWeight

from tests.support.both_clients import EITHER, Connect
from tests.support.scripted import PREDICTION, problem, respond, scripted

WORDS = [{"start": 0, "end": 4, "weight": 0.83}, {"start": 5, "end": 8, "weight": -1}]


@EITHER
async def test_an_explanation_has_the_weight_of_each_word(connect: Connect) -> None:
    reply = respond(content=PREDICTION | {"explanation": WORDS}, x_model="m@1")
    async with scripted(reply) as server, connect(server.address) as client:
        result = await client.explain("good day", top_k=1)
    assert server.requests[0].json == {"text": "good day", "top_k": 1, "explain": True}
    assert isinstance(result, ExplainedPrediction)
    assert (result.label, result.model) == ("positive", "m@1")
    assert result.explanation == (WordWeight(0, 4, 0.83), WordWeight(5, 8, -1.0))


@EITHER
@pytest.mark.parametrize(
    "content",
    [{}, {"explanation": None}, {"explanation": [{"start": 0, "end": "4", "weight": 1}]}, {"explanation": [5]}],
)
async def test_a_response_without_an_explanation_is_unexpected(connect: Connect, content: dict[str, Any]) -> None:
    async with scripted(respond(content=PREDICTION | content)) as server, connect(server.address) as client:
        with pytest.raises(UnexpectedResponse):
            await client.explain("good day")


@EITHER
async def test_a_server_that_cannot_explain_is_an_invalid_request(connect: Connect) -> None:
    refusal = problem(422, content={"errors": [{"loc": ["body"], "msg": "unknown field"}]})
    async with scripted(refusal) as server, connect(server.address) as client:
        with pytest.raises(InvalidRequest):
            await client.explain("good day")
