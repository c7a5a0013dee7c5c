"""Clients of other projects work with the service: huggingface_hub, tritonclient and kserve."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.documents import ALL_BLOCKS, Block
from tests.support.environments import interpreter_or_skip
from tests.support.process import ROOT, Server, clean_environment

TEXTS = ["good", "schön 😀", "bad"]
CLIENTS = ("huggingface_hub", "tritonclient", "kserve")
EXAMPLES = [block for block in ALL_BLOCKS if block.place.startswith("docs/protocols.md") and block.language == "python"]


def run_with(client: str, *arguments: str | Path) -> str:
    """Run the interpreter of a client, and return what it prints."""
    command = [sys.executable if client == "huggingface_hub" else interpreter_or_skip(client), *arguments]
    environment = clean_environment() | {"HF_HUB_OFFLINE": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def report_of(client: str, script: str, *arguments: str) -> Any:
    """Run a script with the interpreter of a client, and return the JSON that it prints."""
    return json.loads(run_with(client, ROOT / "tests" / "support" / script, *arguments).splitlines()[-1])


def native(server: Server) -> list[Any]:
    """Labels and scores of the texts, from our own route."""
    predictions = server.post({"texts": TEXTS}, "/predict/batch").json()["predictions"]
    return [[each["label"] for each in predictions], [[*each["scores"].values()] for each in predictions]]


def test_the_client_of_hugging_face_gets_the_same_predictions(server: Server) -> None:
    found = report_of("huggingface_hub", "huggingface_calls.py", server.address)
    for text, shown, best, logits in zip(TEXTS, found["scores"], found["best"], found["logits"], strict=True):
        scores = server.post({"text": text}).json()["scores"]
        assert dict(shown) == scores
        assert best == shown[:1]
        assert [score for _, score in shown] == sorted(scores.values(), reverse=True)
        total = sum(math.exp(logit) for _, logit in logits)
        assert {label: math.exp(logit) / total for label, logit in logits} == pytest.approx(scores, abs=2e-4)
    assert found["asynchronous"] == found["scores"]
    assert found["error"] == [422, {"error": "body.inputs: the text has no visible character"}]


def test_the_clients_of_triton_get_the_same_predictions(server: Server) -> None:
    found = report_of("tritonclient", "triton_calls.py", server.address.removeprefix("http://"), "sentiment-en")
    expected = [*native(server), "r1"]
    assert len(found["sync"]["answers"]) == 48
    assert len(found["aio"]) == 24
    for answer in [*found["sync"]["answers"], *found["aio"]]:
        assert answer == expected
    assert found["sync"]["server"]["extensions"] == ["binary_tensor_data", "classification"]
    assert found["sync"]["model"]["inputs"] == [{"name": "TEXT", "datatype": "BYTES", "shape": [-1]}]
    version = found["sync"]["model"]["versions"][0]
    ready = {"name": "sentiment-en", "version": version, "state": "READY", "reason": ""}
    assert found["sync"]["index"] == [ready]
    labels, scores, _ = expected
    for row, label, each in zip(found["sync"]["classes"], labels, scores, strict=True):
        score, index, name = row[0].split(":")
        assert (name, round(float(score), 4), int(index)) == (label, max(each), each.index(max(each)))
    (blank, many), unknown = found["sync"]["errors"], found["sync"]["unknown"]
    assert blank == ["422", "body.inputs.0.data.0: the text has no visible character"]
    assert many == ["413", "body.inputs.0.shape: the list has more than 256 texts"]
    assert unknown == ["404", "no such model; this server has sentiment-en"]
    paths = {line["path"] for line in server.events("request") if line["request_id"] == "triton"}
    assert paths == {"/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"}


def test_the_client_of_kserve_gets_the_same_predictions(server: Server) -> None:
    found = report_of("kserve", "kserve_calls.py", server.address, "sentiment-en")
    assert found["answers"] == [[*native(server), "r1"]] * 6
    assert "no visible character" in found["error"]


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: block.place)
def test_the_documented_examples_run(server: Server, block: Block) -> None:
    (client,) = (name for name in CLIENTS if name in block.text)
    run_with(client, "-c", block.text.replace("127.0.0.1:8000", server.address.removeprefix("http://")))


def test_each_client_has_an_example() -> None:
    assert [name for block in EXAMPLES for name in CLIENTS if name in block.text] == list(CLIENTS)
