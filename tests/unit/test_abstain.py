"""`SENTIMENT_ABSTAIN_BELOW`: predictions that are not sure enough have no label, on every path."""

import json
from pathlib import Path

import pytest

from app.cli.score.remote import Server, ServerScorer
from app.config import load_settings
from app.inference import load_model
from app.inference.windows import average
from app.main import create_app
from app.types import Prediction
from tests.support.answers import answering
from tests.support.asgi import started
from tests.support.command import read_csv, read_jsonl, run, score
from tests.support.waiting import async_until

SCORES = {"negative": 0.30004, "positive": 0.69996}
SURE, UNSURE = "good", "what a day"  # for the mock backend


@pytest.fixture(scope="module")
def limit() -> float:
    """A limit between the confidence of the mock backend in these texts."""
    sure, unsure = load_model(backend="mock").predict([SURE, UNSURE])
    assert unsure.confidence != sure.confidence
    return (sure.confidence + unsure.confidence) / 2


def is_unsure(limit: float) -> list[bool]:
    return [each.confidence < limit for each in load_model(backend="mock").predict([SURE, UNSURE])]


def test_every_prediction_has_a_label_by_default() -> None:
    assert Prediction("positive", 0.0, {"positive": 0.0}).render()["label"] == "positive"


def test_the_limit_applies_to_the_confidence_that_users_see() -> None:
    """Which is rounded: a confidence of 0.7 is not below a limit of 0.7."""
    assert Prediction("positive", 0.69996, SCORES, abstain_below=0.7).render()["label"] == "positive"
    unsure = Prediction("positive", 0.69994, SCORES, abstain_below=0.7).render()
    assert unsure["label"] is None
    assert (unsure["confidence"], unsure["scores"]) == (0.7, {"negative": 0.3, "positive": 0.7})


def test_windows_of_a_long_text_abstain_together() -> None:
    parts = [Prediction("a", 0.9, {"a": 0.9, "b": 0.1}, abstain_below=0.8)]
    parts.append(Prediction("b", 0.6, {"a": 0.4, "b": 0.6}, abstain_below=0.8))
    assert average(parts, [1, 1]).render()["label"] is None
    assert average(parts, [9, 1]).render()["label"] == "a"


async def test_the_service_answers_without_a_label(limit: float) -> None:
    app = create_app(load_settings({"backend": "mock", "abstain_below": str(limit)}))
    async with started(app) as http:

        async def is_ready() -> bool:
            return (await http.get("/readyz")).status_code == 200

        await async_until(is_ready)
        expected = [
            None if unsure else "positive" if text == SURE else "neutral"
            for unsure, text in zip(is_unsure(limit), (SURE, UNSURE), strict=True)
        ]
        assert None in expected
        for _ in range(2):  # the second time from the cache
            for text, label in zip((SURE, UNSURE), expected, strict=True):
                answer = (await http.post("/predict", json={"text": text})).json()
                assert answer["label"] == label
                assert answer["confidence"] == max(answer["scores"].values())
            answers = (await http.post("/predict/batch", json={"texts": [SURE, UNSURE]})).json()
            assert [each["label"] for each in answers["predictions"]] == expected
        assert (await http.get("/info")).json()["abstain_below"] == limit
        rows = "".join(json.dumps({"text": text}) + "\n" for text in (SURE, UNSURE))
        headers = {"Content-Type": "application/x-ndjson"}
        streamed = (await http.post("/predict/stream", content=rows, headers=headers)).text.splitlines()
        assert [json.loads(line)["label"] for line in streamed[:2]] == expected
        tensor = {"name": "TEXT", "shape": [2], "datatype": "BYTES", "data": [SURE, UNSURE]}
        inferred = (await http.post("/v2/models/mock/infer", json={"inputs": [tensor]})).json()
        assert inferred["outputs"][0]["data"] == [label or "" for label in expected]
        lines = (await http.get("/metrics")).text.splitlines()
        assert [line.split()[-1] for line in lines if line.startswith("sentiment_abstained_total")] == ["6.0"]
        explained = (await http.post("/predict", json={"text": UNSURE, "explain": True})).json()
        assert (explained["label"], len(explained["explanation"])) == (expected[1], 3)


def test_scored_rows_have_an_empty_label(tmp_path: Path, limit: float) -> None:
    (tmp_path / "in.csv").write_text(f"text\n{SURE}\n{UNSURE}\n")
    flags = ["--abstain-below", str(limit)]
    assert score(tmp_path / "in.csv", "-o", tmp_path / "a.csv", *flags) == 0
    assert [row[1] == "" for row in read_csv(tmp_path / "a.csv")[1:]] == is_unsure(limit)
    assert score(tmp_path / "in.csv", "-o", tmp_path / "a.jsonl", *flags) == 0
    assert [row["label"] is None for row in read_jsonl(tmp_path / "a.jsonl")] == is_unsure(limit)


def test_the_limit_of_a_server_cannot_be_set_from_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_text("good\n")
    assert run("score", tmp_path / "in.txt", "--url", "http://127.0.0.1:1", "--abstain-below", "0.5") == 2
    assert "--abstain-below: with --url, the server decides" in capsys.readouterr().err


def test_a_server_that_abstains_is_understood() -> None:
    unsure = {"label": None, "confidence": 0.7, "scores": {"negative": 0.3, "positive": 0.7}, "truncated": False}
    with answering((200, {"predictions": [unsure]})) as (url, _):
        scorer = ServerScorer(Server(url), "truncate", 1)
        (result,) = scorer.score(["x"])
        scorer.cancel()
    assert isinstance(result, Prediction)
    assert (result.label, result.render()) == ("positive", unsure)


def test_evaluate_says_how_many_texts_get_a_label(
    tmp_path: Path, limit: float, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text(f"text,label\n{SURE},positive\n{UNSURE},neutral\n")
    flags = ["--backend", "mock", "--abstain-below", str(limit)]
    assert run("evaluate", tmp_path / "in.csv", *flags) == 0
    assert "with a label       1 of 2, of which 1.0000 are right" in capsys.readouterr().out
    assert run("evaluate", tmp_path / "in.csv", *flags, "--json") == 0
    assert json.loads(capsys.readouterr().out)["answered"] == 1
