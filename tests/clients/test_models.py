"""The models of a server: predictions by one of them, and what the server says about them."""

from collections.abc import Iterator
from typing import Any

import pytest
from rt_sentiment_client import (
    Agreement,
    InvalidRequest,
    Prediction,
    SentimentError,
    ServedModel,
    ServedVersion,
    UnexpectedResponse,
)

from tests.support.both_clients import EITHER, Connect
from tests.support.process import Server
from tests.support.scripted import respond, scripted
from tests.support.scripted_stream import stream
from tests.support.served import serving_models


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_models(tmp_path_factory.mktemp("models")) as server:
        yield server


def models_of(results: list[Prediction | SentimentError]) -> list[str | None]:
    return [result.model for result in results if isinstance(result, Prediction)]


@EITHER
async def test_every_method_asks_the_model_of_a_name(connect: Connect, served: Server) -> None:
    texts = ["good", "bad"]
    async with connect(served.address) as client:
        assert (await client.predict("good")).model == "one@mock"
        assert (await client.predict("good", model="two")).model == "two@mock"
        assert (await client.explain("good", model="two")).model == "two@mock"
        assert models_of(await client.predict_many(texts, model="two")) == ["two@mock"] * 2
        assert models_of(await client.stream(texts, model="two")) == ["two@mock"] * 2


@EITHER
async def test_a_model_that_does_not_exist_is_refused(connect: Connect, served: Server) -> None:
    async with connect(served.address) as client:
        for call in (
            client.predict("good", model="three"),
            client.predict_many(["good"], model="three", on_error="return"),
            client.stream(["good"], model="three", on_error="return"),
        ):
            with pytest.raises(InvalidRequest, match="no such model; this server has one, two") as caught:
                await call
            assert caught.value.status == 404


@EITHER
async def test_the_models_of_a_server_have_versions(connect: Connect, served: Server) -> None:
    async with connect(served.address) as client:
        one, two = await client.models(request_id="models-1")
    assert served.wait_for("request", request_id="models-1")["path"] == "/models"
    assert (one.name, one.default, one.ready) == ("one", True, True)
    assert (two.name, two.default, two.ready) == ("two", False, True)
    assert [version.version for version in one.versions] == ["one@mock", "one@mock+2", "one@mock+3"]
    assert [(each.weight, each.share, each.shadow) for each in one.versions] == [
        (100, 1, False),
        (0, 0, False),
        (0, 0, True),
    ]
    assert {(each.state, each.reason, each.errors) for each in one.versions} == {("ready", "", 0)}
    assert two.versions[0].labels == ("negative", "neutral", "positive")


VERSION = {
    "version": "m@1",
    "source": "models/m",
    "state": "failed",
    "reason": "too few golden texts agree",
    "weight": 10,
    "share": 0.1,
    "shadow": True,
    "checksum": "sha256:1",
    "labels": ["a", "b"],
    "golden": {"texts": 4, "agreeing": 3, "agreement": 0.75},
    "compared": {"texts": 9, "agreeing": 8, "mean_difference": 0.1, "p95_difference": 0.2},
    "requests": 12,
    "errors": 1,
    "from the future": 1,
}


@EITHER
async def test_what_the_server_says_is_typed(connect: Connect) -> None:
    empty = VERSION | dict.fromkeys(("version", "checksum", "golden", "compared"))
    models = [{"name": "m", "default": True, "ready": False, "versions": [VERSION, empty]}]
    async with scripted(respond(content={"models": models})) as server, connect(server.address) as client:
        (model,) = await client.models()
    reason, labels = "too few golden texts agree", ("a", "b")
    golden, compared = Agreement(4, 3), Agreement(9, 8)
    assert model == ServedModel(
        "m",
        default=True,
        ready=False,
        versions=(
            ServedVersion(
                "m@1", "models/m", "failed", reason, 10, 0.1, True, "sha256:1", labels, golden, compared, 12, 1
            ),
            ServedVersion(None, "models/m", "failed", reason, 10, 0.1, True, None, labels, None, None, 12, 1),
        ),
    )


@EITHER
@pytest.mark.parametrize(
    "content",
    [
        {},
        {"models": 1},
        {"models": [{"name": "m", "default": True, "ready": True, "versions": [VERSION | {"share": "much"}]}]},
        {"models": [{"name": "m", "default": 1, "ready": True, "versions": []}]},
    ],
)
async def test_an_answer_of_another_service_is_an_error(connect: Connect, content: Any) -> None:
    async with scripted(respond(content=content)) as server, connect(server.address) as client:
        with pytest.raises(UnexpectedResponse, match="is base_url right"):
            await client.models()


@EITHER
async def test_the_name_is_an_option_of_the_request(connect: Connect) -> None:
    async with scripted(respond()) as server, connect(server.address) as client:
        await client.predict("good", model="mine")
    assert server.requests[0].json == {"text": "good", "model": "mine"}
    async with scripted(stream()) as server, connect(server.address) as client:
        await client.stream(["good"], model="owner/m")
    assert server.requests[0].path == "/predict/stream?model=owner%2Fm"
