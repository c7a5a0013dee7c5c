"""A client that is generated from the OpenAPI document works, and its names and types are pleasant."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.support.process import Server

NAME = "generated_client"


@pytest.fixture(scope="module")
def generated(mock_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("generated")
    document, config = folder / "openapi.json", folder / "config.json"
    document.write_text(mock_server.get("/openapi.json").text)
    # The generator would format the code, and knows no streams.
    overrides = {"application/x-ndjson": "application/octet-stream"}
    config.write_text(json.dumps({"post_hooks": [], "content_type_overrides": overrides}))
    generate = [
        Path(sys.executable).parent / "openapi-python-client",
        "generate",
        "--meta",
        "none",
        "--fail-on-warning",
    ]
    files = ["--path", document, "--config", config, "--output-path", folder / NAME]
    done = subprocess.run([*generate, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module(NAME)
    finally:
        sys.path.remove(str(folder))


@pytest.fixture
def api(generated: ModuleType) -> SimpleNamespace:
    names = {"predict": "predict", "predict_batch": "predict", "healthz": "probes", "info": "information"}
    modules = {name: importlib.import_module(f"{NAME}.api.{tag}.{name}") for name, tag in names.items()}
    return SimpleNamespace(**modules, models=importlib.import_module(f"{NAME}.models"))


@pytest.fixture
def client(generated: ModuleType, mock_server: Server) -> Iterator[Any]:
    with generated.Client(base_url=mock_server.address, timeout=60) as client:
        yield client


def test_a_text_has_a_typed_prediction(api: SimpleNamespace, client: Any) -> None:
    body = api.models.PredictRequest(text="so good", top_k=1, explain=True)
    result = api.predict.sync(client=client, body=body)
    assert isinstance(result, api.models.PredictResponse)
    assert (result.label, result.truncated) == ("positive", False)
    assert result.scores.additional_properties == {"positive": result.confidence}
    assert [type(word) for word in result.explanation] == [api.models.WordWeight] * 2


def test_a_list_has_a_prediction_or_an_error_in_each_place(api: SimpleNamespace, client: Any) -> None:
    body = api.models.BatchRequest(texts=["so good", " "], partial=True)
    first, second = api.predict_batch.sync(client=client, body=body).predictions
    assert (first.label, second.error.status) == ("positive", 422)
    assert type(second) is api.models.FailedText


def test_an_error_is_a_problem_with_its_details(api: SimpleNamespace, client: Any) -> None:
    response = api.predict.sync_detailed(client=client, body=api.models.PredictRequest(text=" "))
    problem = response.parsed
    assert response.status_code == problem.status == 422
    assert isinstance(problem, api.models.Problem)
    assert (problem.title, problem.errors[0].loc) == ("Unprocessable Content", ["body", "text"])
    assert problem.request_id == response.headers["x-request-id"]


async def test_it_works_with_asyncio(api: SimpleNamespace, generated: ModuleType, mock_server: Server) -> None:
    async with generated.Client(base_url=mock_server.address, timeout=60) as client:
        body = api.models.PredictRequest(text="so bad")
        assert (await api.predict.asyncio(client=client, body=body)).label == "negative"
        assert (await api.info.asyncio(client=client)).labels == ["negative", "neutral", "positive"]
        assert (await api.healthz.asyncio(client=client)).status == "ok"


def test_no_name_of_a_model_is_made_up(api: SimpleNamespace) -> None:
    assert not [name for name in api.models.__all__ if "Type" in name or "Response200" in name or "Body" in name]
