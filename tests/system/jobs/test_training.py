"""Training jobs, from a file to a model that is served, with a model that is small enough to train in seconds."""

import csv
import gzip
import io
import json
import os
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli.jobs import client as client_module
from nginx.process import free_port
from tests.support.command import run
from tests.support.jobs import JobsClient, worker
from tests.support.process import Server, serve
from tests.support.redis import redis
from tests.support.tiny import ROWS, tiny_classifier
from tests.support.waiting import until

QUICK = {"epochs": 4, "batch_size": 8, "learning_rate": 1e-3, "evaluations": 2}
LONG = QUICK | {"epochs": 4000, "evaluations": 2000, "patience": 0}
# Matrices this small are faster with one thread.
ONE_THREAD = "import os\nos.environ['OMP_NUM_THREADS'] = '1'"


class Stack:
    """A Redis, a service, and the settings of workers."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        tiny_classifier(folder).rename(folder / "tiny")
        (folder / "in").mkdir()
        self.settings = {
            "redis_url": f"redis://127.0.0.1:{port}",
            "job_store": str(folder / "store"),
            "job_sources": f"file://{folder}/in",
            "job_bases": str(folder),
        }
        self.server: Server

    def run_of(self, job_id: str) -> Path:
        return self.folder / "store" / job_id / "training" / "runs" / "mine"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    port = free_port()
    stack = Stack(tmp_path_factory.mktemp("trainings"), port)
    with redis(port), serve(backend="mock", **stack.settings) as stack.server:
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[JobsClient]:
    client = JobsClient(stack.server, kind="training")
    with client.http:
        yield client


def table(rows: int = 1000, **labels: str) -> bytes:
    stream = io.StringIO()
    lines = csv.writer(stream)
    lines.writerow(("review", "stars"))
    lines.writerows(
        (f"{row.text} {ending}", labels.get(str(row.label), row.label))
        for row in ROWS[:rows]
        for ending in ("Really.", "I think.")
    )
    return stream.getvalue().encode()


def fields(recipe: dict[str, Any], **others: str) -> dict[str, str]:
    return {"name": "mine", "base": "tiny", "recipe": json.dumps(recipe)} | others


def training_worker(stack: Stack, *flags: str) -> Any:
    return worker("--queues", "training", *flags, prelude=ONE_THREAD, **stack.settings)


def has_saved(client: JobsClient, job_id: str, stack: Stack) -> int:
    """Return the step from which the job would go on."""
    state = stack.run_of(job_id) / "progress.json"
    return until(lambda: json.loads(until(lambda: state.exists() and state.read_text())).get("saved", 0))


def test_a_file_becomes_a_model_that_is_served(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RT_SENTIMENT_URL", stack.server.address)
    monkeypatch.setattr(client_module, "_ASK_EVERY_S", 0.05)
    (tmp_path / "reviews.csv").write_bytes(table(positive="5", neutral="3", negative="1"))
    (tmp_path / "quick.toml").write_text("".join(f"{name} = {value}\n" for name, value in QUICK.items()))
    flags = [
        "--base",
        "tiny",
        "--recipe",
        tmp_path / "quick.toml",
        "--text-column",
        "review",
        "--label-column",
        "stars",
    ]
    assert run("jobs", "train", tmp_path / "reviews.csv", "--name", "mine", *flags) == 0
    job_id = capsys.readouterr().out.strip()
    with training_worker(stack):
        assert run("jobs", "wait", job_id, "--json") == 0
    job = json.loads(capsys.readouterr().out)
    assert (job["type"], job["progress"]["done"], job["progress"]["total"]) == ("training", 32, 32)
    assert job["progress"]["loss"] > 0
    assert job["result"]["labels"] == ["1", "3", "5"]
    assert job["result"].keys() >= {"accuracy", "macro_f1", "digest", "rows", "rows_measured"}
    assert run("jobs", "result", job_id, "-o", tmp_path / "mine.tar") == 0
    with tarfile.open(tmp_path / "mine.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    assert {path.name for path in tmp_path.iterdir()} >= {"mine", "mine-run"}
    assert "macro F1" in (tmp_path / "mine" / "MODEL_CARD.md").read_text()
    report = json.loads((tmp_path / "mine" / "report.json").read_text())
    assert report["dev"]["reviews"]["classes"].keys() == {"1", "3", "5"}
    assert run("jobs", "result", job_id, "--format", "csv") == 1
    model = {"model": str(tmp_path / "mine"), "model_digest": job["result"]["digest"]}
    with serve(backend="onnx", **model) as server, server.client() as http:
        assert http.post("/predict", json={"text": "The film is superb."}).json()["label"] in ("1", "3", "5")
    assert not (stack.folder / "store" / job_id / "training").exists()


def test_a_killed_training_goes_on_from_its_last_state(stack: Stack, client: JobsClient) -> None:
    job_id = client.upload(table(), "reviews.csv", **fields(QUICK | {"epochs": 12, "evaluations": 6}))
    with training_worker(stack) as first:
        has_saved(client, job_id, stack)
        os.kill(first.process.pid, signal.SIGSTOP)  # so that it does not begin the job again
        os.kill(first.child, signal.SIGKILL)
        first.process.kill()
        saved = has_saved(client, job_id, stack)
        first.wait()
    history = (stack.run_of(job_id) / "history.jsonl").read_text().splitlines()
    with training_worker(stack) as second:
        assert client.wait(job_id)["status"] == "completed"
        assert second.wait_for("job lost", job=job_id)
    job = client.job(job_id)
    assert job["attempts"] == 2
    with tarfile.open(fileobj=io.BytesIO(client.result(job_id, "tar").content)) as archive:
        final = archive.extractfile("mine-run/history.jsonl")
        assert final
        after = final.read().decode().splitlines()
    # What was done until the last state was not done again: its entries, with their rates, are the same.
    kept = [line for line in history if json.loads(line)["step"] < saved]
    assert kept
    assert after[: len(kept)] == kept


def test_a_worker_that_is_told_to_end_saves_the_training(stack: Stack, client: JobsClient) -> None:
    job_id = client.upload(table(), "reviews.csv", **fields(LONG))
    with training_worker(stack) as first:
        client.wait(job_id, "running")
        until(lambda: client.job(job_id)["progress"]["phase"] == "train")
        first.terminate()
        first.wait()
    job = client.job(job_id)
    assert (job["status"], job["attempts"]) == ("pending", 0)
    assert has_saved(client, job_id, stack)
    with training_worker(stack):
        client.wait(job_id, "running")
        until(lambda: client.job(job_id)["progress"]["done"] > job["progress"]["done"])
        process = int((stack.run_of(job_id) / "lock").read_text())
        assert client.http.delete(f"/jobs/{job_id}").json()["status"] == "cancelled"
        until(lambda: not Path(f"/proc/{process}").exists())
    assert client.result(job_id, "tar").status_code == 409


def test_rows_that_cannot_be_used_fail_a_job_at_once(stack: Stack, client: JobsClient) -> None:
    (stack.folder / "in" / "one.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a", "label": "late"}\n' * 30))
    source = {"url": f"file://{stack.folder}/in/one.jsonl.gz", "label_column": "stars"}
    job_id = client.submit({"name": "mine", "source": source})
    with training_worker(stack):
        job = client.wait(job_id)
    assert (job["status"], job["attempts"]) == ("failed", 1)
    assert job["error"] == "one.jsonl: no column stars; the columns are text, label"
    assert not (stack.folder / "store" / job_id / "training").exists()
    assert client.http.post(f"/jobs/{job_id}/retry").json()["status"] == "pending"
    assert client.http.delete(f"/jobs/{job_id}").json()["status"] == "cancelled"


def test_the_same_training_sent_twice_is_one_job(client: JobsClient) -> None:
    def send(**others: str) -> Any:
        files = {"file": ("in.csv", table(3))}
        return client.http.post("/jobs/training", files=files, data=others, headers={"Idempotency-Key": "once"})

    first = send(**fields(QUICK)).json()
    assert send(**fields(QUICK)).json() == first
    assert send(**fields(LONG)).status_code == 422
    listed = client.http.get("/jobs", params={"type": "training", "status": "pending"}).json()["jobs"]
    assert first["id"] in [job["id"] for job in listed]
    assert not client.http.get("/jobs", params={"type": "inference"}).json()["jobs"]
    assert client.http.delete(f"/jobs/{first['id']}").json()["status"] == "cancelled"


FILE = {"url": "file:///nowhere/in.csv"}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"source": FILE}, ["body", "name"]),
        ({"name": "../mine", "source": FILE}, ["body", "name"]),
        ({"name": "mine", "base": "/etc", "source": FILE}, ["body", "base"]),
        ({"name": "mine", "source": FILE}, ["body", "source", "url"]),
        ({"name": "mine", "source": FILE, "priority": "low"}, ["body", "priority"]),
        ({"name": "mine", "source": FILE, "recipe": {"weights": {"a": 1}}}, ["body", "recipe"]),
        ({"name": "mine", "source": {"url": FILE["url"], "format": "lines"}}, ["body", "source", "format"]),
        ({"name": "mine", "source": FILE, "recipe": {"epochs": 1, "x" * 5000: 1}}, ["body", "recipe"]),
    ],
)
def test_a_training_that_cannot_run_is_refused(client: JobsClient, body: dict[str, Any], where: list[str]) -> None:
    response = client.http.post("/jobs/training", json=body)
    assert response.status_code == 422, response.text
    assert [error["loc"] for error in response.json()["errors"]] == [where]


@pytest.mark.parametrize("others", [{"recipe": "[]"}, {"recipe": "{"}, {"every": "PT1H"}, {"name": ""}])
def test_a_form_that_cannot_run_is_refused(client: JobsClient, others: dict[str, str]) -> None:
    data = fields(QUICK) | others
    response = client.http.post("/jobs/training", files={"file": ("in.csv", table(3))}, data=data)
    assert response.status_code == 422, response.text
