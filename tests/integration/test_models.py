"""The models of a server: by the commands that ask it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import read_jsonl, run
from tests.support.process import Server
from tests.support.served import serving_models
from tests.support.waiting import until


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_models(tmp_path_factory.mktemp("models"), feedback="true") as server:
        yield server


def rows(shown: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    return [line.split() for line in shown.splitlines() if line.strip()][2:]


def compared(server: Server) -> int:
    """How many texts the shadow has answered."""
    shadow = server.get("/models/one").json()["versions"][2]
    return shadow["compared"]["texts"] if shadow["compared"] else 0


def test_list_shows_what_a_server_serves(served: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "list", "--url", served.address) == 0
    lines = rows(capsys.readouterr().out)
    assert [line[:2] for line in lines] == [["one", "(default)"]] * 3 + [["two", "two@mock"]]
    assert [line[2:7] for line in lines[:3]] == [
        ["one@mock", "ready", "100", "100.0", "%"],
        ["one@mock+2", "ready", "0", "0.0", "%"],
        ["one@mock+3", "ready", "shadow", "0.0", "%"],
    ]
    assert lines[3][2:] == ["ready", "100", "100.0", "%", "0", lines[3][-1]]


def test_compare_reads_what_a_server_has_counted(served: Server, capsys: pytest.CaptureFixture[str]) -> None:
    before = compared(served)
    request_id = served.post({"text": "good"}).headers["x-request-id"]
    assert served.post({"request_id": request_id, "label": "negative"}, "/feedback").status_code == 204
    until(lambda: compared(served) > before)
    assert run("models", "compare", "one@mock", "one@mock+3", "--url", served.address, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["a"]["version"], found["a"]["shadow"]) == ("one@mock", None)
    assert found["a"]["requests"] >= 1
    assert found["a"]["labels"]["positive"] >= 1
    assert found["a"]["latency_ms"]["p50"] > 0
    assert 0.4 < found["a"]["mean_confidence"] <= 1
    assert (found["a"]["accuracy"]["count"], found["a"]["accuracy"]["whole"]) == (0, 1)
    assert found["b"]["shadow"]["agreement"]["value"] == 1.0
    assert found["b"]["shadow"]["mean_difference"] == 0.0
    assert "one@mock+3 is a shadow" in found["words"]
    assert run("models", "compare", "one@mock", "one@9", "--url", served.address) == 1
    assert "it has no one@9; it has one@mock, one@mock+2, one@mock+3, two@mock" in capsys.readouterr().err


def test_score_asks_the_model_of_a_name(served: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = served.get("/models/two").json()["versions"][0]["requests"]
    (tmp_path / "in.txt").write_text("good\nbad\n")
    out = tmp_path / "out.jsonl"
    assert run("score", tmp_path / "in.txt", "--url", served.address, "--served-model", "two", "-o", out) == 0
    assert [row["label"] for row in read_jsonl(out)] == ["positive", "negative"]
    assert served.get("/models/two").json()["versions"][0]["requests"] == before + 1
    out = tmp_path / "other.jsonl"
    assert run("score", tmp_path / "in.txt", "--url", served.address, "--served-model", "three", "-o", out) == 2
    assert "it has no model three; it has one, two" in capsys.readouterr().err


def test_bench_measures_the_model_of_a_name(served: Server, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--connections", "1", "--seconds", "0.1", "--json")
    before = served.get("/models/two").json()["versions"][0]["requests"]
    assert run("bench", "--url", served.address, "--served-model", "two", *flags) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["measured"] == f"two of {served.address} over HTTP"
    sent = 1 + sum(each["requests"] for each in found["figures"])
    assert served.get("/models/two").json()["versions"][0]["requests"] == before + sent
    assert run("bench", "--url", served.address, "--served-model", "three", *flags) == 1
    assert "no such model" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["score", "bench"])
def test_a_served_model_needs_a_server(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--served-model", "two") == 2
    assert "--served-model needs --url; for a model in this process, use --model" in capsys.readouterr().err
