"""Applications that `create_app` returns share nothing."""

import asyncio
import json
import shutil
from pathlib import Path

import httpx

from app.config import load_settings
from app.inference.artifact import open_artifact
from app.main import create_app
from tests.support.asgi import started
from tests.support.waiting import async_until

TEXT = "What a wonderful day, I love it."


async def wait_until_ready(http: httpx.AsyncClient) -> None:
    async def is_ready() -> bool:
        return (await http.get("/readyz")).status_code == 200

    await async_until(is_ready)


async def label_of(http: httpx.AsyncClient, text: str) -> str:
    response = await http.post("/predict", json={"text": text})
    assert response.status_code == 200, response.text
    label: str = response.json()["label"]
    return label


async def test_two_models_in_one_process_answer_with_their_own_labels(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(open_artifact("sentiment-en").directory, tmp_path / "stars"))
    config = json.loads((copy / "config.json").read_text())
    config["id2label"] = {"0": "one star", "1": "three stars", "2": "five stars"}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "manifest.json").unlink()  # its checksum would not match
    (copy / "golden.jsonl").unlink()  # it has the old labels
    first = create_app(load_settings({"backend": "mock"}))
    second = create_app(load_settings({"backend": "onnx", "model": str(copy)}))
    async with started(first) as mock, started(second) as stars:
        await asyncio.gather(wait_until_ready(mock), wait_until_ready(stars))
        clients = [mock, stars] * 20
        labels = await asyncio.gather(*(label_of(http, f"{TEXT} {number // 4}") for number, http in enumerate(clients)))
        assert labels == ["positive", "five stars"] * 20
        for http, model in ((mock, "mock"), (stars, "stars")):
            assert (await http.get("/info")).json()["model"] == model
            metrics = (await http.get("/metrics")).text
            assert 'http_requests_total{handler="/predict",method="POST",status="200"} 20.0' in metrics


async def test_the_end_of_one_application_leaves_the_other_running() -> None:
    first, second = (create_app(load_settings({"backend": "mock"})) for _ in range(2))
    async with started(first) as http:
        await wait_until_ready(http)
        async with started(second) as other:
            await wait_until_ready(other)
            assert await label_of(other, "good") == "positive"
        assert await label_of(http, "bad") == "negative"
