"""Who may send jobs, how many, and whose they are."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis as redis_client

from app.access import Scope, add_key, remove_key
from app.jobs.job import Job
from app.jobs.queue import Queues, job_of
from app.jobs.records import Records
from app.jobs.store import LocalStore
from app.jobs.sweep import Sweeper
from nginx.process import free_port
from tests.support.jobs import JobsClient, Stack
from tests.support.process import Server, serve
from tests.support.redis import redis


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[tuple[Server, dict[str, str]]]:
    """A service with keys, which shares Redis with the other one."""
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    scopes: dict[str, list[Scope]] = {"web": ["predict"], "one": ["jobs"], "two": ["jobs", "predict"]}
    keys = {name: add_key(file, name, scopes=each) for name, each in scopes.items()}
    with serve(backend="mock", api_keys_file=str(file), **stack.settings | {"job_max_open": "1"}) as server:
        yield server, keys


def client_of(guarded: tuple[Server, dict[str, str]], name: str) -> JobsClient:
    server, keys = guarded
    return JobsClient(server, **{"X-API-Key": keys[name]})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/jobs/inference"),
        ("POST", "/jobs/training"),
        ("GET", "/jobs"),
        ("GET", "/jobs/a"),
        ("GET", "/jobs/a/events"),
        ("GET", "/jobs/a/result"),
        ("DELETE", "/jobs/a"),
        ("POST", "/jobs/a/retry"),
    ],
)
def test_jobs_need_a_key_of_their_scope(guarded: tuple[Server, dict[str, str]], method: str, path: str) -> None:
    with closing(client_of(guarded, "web").http) as http:
        refused = http.request(method, path)
        assert refused.status_code == 403
        assert refused.json()["detail"] == "this API key does not have the scope jobs"
    with closing(guarded[0].client()) as http:
        assert http.request(method, path).status_code == 401


def test_a_caller_sees_only_its_own_jobs(guarded: tuple[Server, dict[str, str]], client: JobsClient) -> None:
    one, two = (client_of(guarded, name) for name in ("one", "two"))
    with closing(one.http), closing(two.http):
        job_id = one.submit({"texts": ["good"]}, headers={"Idempotency-Key": "same"})
        one.wait(job_id)
        other = two.submit({"texts": ["bad"]}, headers={"Idempotency-Key": "same"})
        two.wait(other)
        assert [job["id"] for job in one.http.get("/jobs").json()["jobs"]] == [job_id]
        for stranger in (two, client):
            for method, below in (("GET", ""), ("GET", "/status"), ("GET", "/events"), ("GET", "/result")):
                assert stranger.http.request(method, f"/jobs/{job_id}{below}").status_code == 404
            assert stranger.http.delete(f"/jobs/{job_id}").status_code == 404
            assert stranger.http.post(f"/jobs/{job_id}/retry").status_code == 404
        assert one.job(job_id)["status"] == "completed"


@pytest.mark.parametrize("change", ["removed", "given to another owner"])
def test_live_events_end_when_the_key_is_no_longer_valid(tmp_path: Path, stack: Stack, change: str) -> None:
    file = tmp_path / "keys.yaml"
    key = add_key(file, "leaves", scopes=["jobs"])
    add_key(file, "stays", scopes=["jobs"])
    with serve(backend="mock", api_keys_file=str(file), **stack.settings) as server:
        client = JobsClient(server, **{"X-API-Key": key})
        with closing(client):
            job_id = client.submit({"texts": ["good"], "run_at": "2027-06-30T00:00:00Z"})
            with client.http.stream("GET", f"/jobs/{job_id}/events") as response:
                lines = response.iter_lines()
                assert next(lines).startswith("event: status")
                if change == "removed":
                    remove_key(file, "leaves")
                else:
                    file.write_text(file.read_text().replace("leaves", "another"))
                for _ in lines:
                    pass  # until the server ends it
            assert client.http.get(f"/jobs/{job_id}").status_code == (403 if change == "removed" else 404)


def test_a_caller_has_limited_bytes_in_open_jobs(tmp_path: Path, stack: Stack) -> None:
    settings = stack.settings | {"job_max_open_bytes": "2000", "job_store": str(tmp_path)}
    with serve(backend="mock", **settings) as server:
        client = JobsClient(server)
        with closing(client):
            refused = client.http.post("/jobs/inference", json={"texts": ["good " * 500]})
            assert (refused.status_code, refused.json()["detail"]) == (413, "the upload is larger than 2000 bytes")
            later = {"texts": ["good " * 250], "run_at": "2027-06-30T00:00:00Z"}
            job_id = client.submit(later)
            refused = client.http.post("/jobs/inference", files={"file": ("a.csv", b"text\n" + b"x" * 900)})
            assert refused.status_code == 429
            assert "bytes in the store, which leaves no room" in refused.json()["detail"]
            client.http.delete(f"/jobs/{job_id}")
            client.http.delete(f"/jobs/{client.submit(later)}")


def test_a_caller_has_a_limited_number_of_open_jobs(tmp_path: Path) -> None:
    port = free_port()
    settings = {"redis_url": f"redis://127.0.0.1:{port}", "job_store": str(tmp_path), "job_max_open": "2"}
    with redis(port), serve(backend="mock", **settings) as server:
        client = JobsClient(server)
        with closing(client.http):
            first, _ = (client.submit({"texts": ["good"]}) for _ in range(2))
            refused = client.http.post("/jobs/inference", json={"texts": ["good"]})
            assert refused.status_code == 429
            assert int(refused.headers["Retry-After"]) >= 1
            client.http.delete(f"/jobs/{first}")
            client.submit({"texts": ["good"]})


def test_without_redis_the_routes_say_what_is_missing(mock_server: Server) -> None:
    for method, path in (("POST", "/jobs/inference"), ("GET", "/jobs"), ("GET", "/jobs/a"), ("DELETE", "/jobs/a")):
        with closing(mock_server.client()) as http:
            response = http.request(method, path)
            assert response.status_code == 503
            assert "SENTIMENT_REDIS_URL" in response.json()["detail"]


def test_a_job_that_waits_for_long_gets_the_next_priority(tmp_path: Path) -> None:
    port = free_port()
    with redis(port), redis_client.Redis(port=port) as database:
        records, queues = Records(database), Queues(database)
        now_s = time.time()
        for name, age_s in (("old", 100.0), ("new", 1.0)):
            job = Job(f"{name}a1", "inference", "all", {}, now_s, now_s - age_s, 3, 60, priority="low", queue="low")
            records.create(job, 10)
            queues.deliver(job)
        Sweeper(records, queues, LocalStore(tmp_path)).sweep()
        assert [job_of(each) for each in queues.waiting("low")] == ["newa1"]
        assert [job_of(each) for each in queues.waiting("normal")] == ["olda1"]
        moved = records.get("olda1")
        assert moved
        assert (moved.priority, moved.queue) == ("low", "normal")


def test_a_store_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    port = free_port()
    settings = {"redis_url": f"redis://127.0.0.1:{port}", "job_store": "/dev/null/store"}
    with redis(port), serve(backend="mock", **settings) as server, closing(JobsClient(server)) as client:
        for options in ({"json": {"texts": ["good"]}}, {"files": {"file": ("a.csv", b"text\n")}}):
            refused = client.http.post("/jobs/inference", **options)
            assert refused.status_code == 503
            assert refused.json()["detail"] == "the store of jobs cannot be used: Not a directory"
        assert client.http.get("/jobs").json()["jobs"] == []
