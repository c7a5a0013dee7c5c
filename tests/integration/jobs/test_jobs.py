"""Jobs from the request to the result: a real Redis, a real service, a real worker."""

import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.jobs import JobsClient, Stack, csv_of, worker
from tests.support.waiting import until


def events_of(response: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    """The id and the data of each event."""
    found, event_id, data = [], "", {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if name == "id":
            event_id = value
        elif name == "data":
            data = json.loads(value)
        elif not line and data:
            found.append((event_id, data))
            data = {}
    return found


def test_texts_become_rows_in_their_order(client: JobsClient) -> None:
    job_id = client.submit({"texts": ["good", "", "bad \u2028 é😀"]})
    job = client.wait(job_id)
    assert (job["status"], job["attempts"], job["error"]) == ("completed", 1, None)
    progress = {"done": 3, "total": 3, "per_s": 0, "eta_s": None, "phase": None, "loss": None}
    assert job["progress"] | {"per_s": 0} == progress
    assert job["result"] == {"rows": 3, "errors": 1, "model": "mock mock None"}
    rows = client.rows(job_id)
    assert [row["text"] for row in rows] == ["good", "", "bad \u2028 é😀"]
    assert [row["label"] for row in rows] == ["positive", None, "negative"]
    assert rows[1]["error"] == "the text has no visible character"


def test_the_response_says_where_to_follow_the_job(client: JobsClient) -> None:
    response = client.http.post("/jobs/inference", json={"texts": ["good"]})
    accepted = response.json()
    assert response.headers["Location"] == accepted["status_url"] == f"/jobs/{accepted['id']}/status"
    client.wait(accepted["id"])
    assert client.http.get(accepted["status_url"]).json()["id"] == accepted["id"]
    assert client.http.get(accepted["result_url"]).status_code == 200


@pytest.mark.parametrize("name", ["in.csv", "in.csv.gz", "-"])
def test_an_upload_keeps_its_columns(client: JobsClient, name: str) -> None:
    content = csv_of(300).replace(b"text", b"body")
    job_id = client.upload(
        gzip.compress(content) if name.endswith("gz") else content,
        name,
        text_column="body",
        priority="high",
        **({"format": "csv"} if name == "-" else {}),
    )
    assert client.wait(job_id)["metadata"]["priority"] == "high"
    lines = client.result(job_id, "csv").text.splitlines()
    assert lines[0] == "id,body,label,confidence,scores,truncated,error"
    assert [int(line.partition(",")[0]) for line in lines[1:]] == list(range(300))
    table = pq.read_table(io.BytesIO(client.result(job_id, "parquet").content))
    assert table.column("label").to_pylist()[:4] == ["negative", "positive", "positive", "negative"]


def test_a_file_of_an_allowed_folder_is_scored(stack: Stack, client: JobsClient) -> None:
    (stack.sources / "a.jsonl").write_text('{"body": "good", "n": 1.50}\n')
    source = {"url": f"file://{stack.sources}/a.jsonl", "text_column": "body"}
    job_id = client.submit({"source": source, "options": {"prefix": "s_"}})
    assert client.wait(job_id)["status"] == "completed"
    assert client.result(job_id).text.startswith('{"body": "good", "n": 1.50, "s_label": "positive"')


@pytest.mark.parametrize(
    ("content", "fields", "why"),
    [
        (b"a,b\n1,2\n", {}, "its columns are a, b; name the one with the text: text_column"),
        (b"text\n\xff\n", {}, "line 2: not valid UTF-8; use encoding, or keep such rows with on_bad_row keep"),
        (b"text,label\nx,y\n", {}, "it already has the column label; name the new ones with prefix"),
        (b"", {}, "it is empty"),
        (b"no parquet", {"format": "parquet"}, "it is not a Parquet file"),
    ],
)
def test_rows_that_cannot_be_read_fail_the_job_at_once(
    client: JobsClient, content: bytes, fields: dict[str, str], why: str
) -> None:
    job = client.wait(client.upload(content, **fields))
    assert (job["status"], job["attempts"]) == ("failed", 1)
    assert why in job["error"]
    assert client.result(job["id"]).status_code == 409


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "expected either texts or source"),
        ({"texts": []}, "texts"),
        ({"texts": ["a"], "source": {"url": "file:///a.csv"}}, "expected either texts or source"),
        ({"texts": [1]}, "texts"),
        ({"texts": ["a"], "priority": "urgent"}, "priority"),
        ({"texts": ["a"], "more": 1}, "unknown field"),
        ({"source": {"url": "file:///etc/passwd", "format": "csv"}}, "may not read from there"),
        ({"source": {"url": "http://127.0.0.1/a.csv"}}, "expected a URL"),
        ({"source": {"url": "file:///a"}}, "the format is not known"),
        ({"source": {"url": "file:///a.csv", "encoding": "utf-7000"}}, "encoding"),
        ({"source": {"url": "file:///a.csv", "delimiter": "::"}}, "delimiter"),
    ],
)
def test_a_request_that_cannot_run_is_refused(client: JobsClient, body: dict[str, Any], detail: str) -> None:
    response = client.http.post("/jobs/inference", json=body)
    assert response.status_code == 422
    assert detail in response.json()["detail"]


def test_a_list_that_is_too_long_for_a_body_is_refused(client: JobsClient) -> None:
    response = client.http.post("/jobs/inference", json={"texts": ["x" * 1000] * 5000})
    assert response.status_code == 413


def test_an_upload_that_is_too_large_is_refused_and_leaves_nothing(stack: Stack, client: JobsClient) -> None:
    before = set((stack.folder / "store").iterdir())
    response = client.http.post("/jobs/inference", files={"file": ("a.csv", b"text\n" + b"x" * 300_000)})
    assert response.status_code == 413
    until(lambda: set((stack.folder / "store").iterdir()) == before)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"--b\r\n", "not a complete form"),
        (b"what", "not a valid form"),
        (b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n--b--\r\n', "no part called file"),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\ny\r\n--b', "not a complete form"),
        (
            2 * b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\ny\r\n' + b"--b--\r\n",
            "two parts called file",
        ),
    ],
)
def test_a_broken_form_is_refused(client: JobsClient, body: bytes, detail: str) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = client.http.post("/jobs/inference", content=body, headers=headers)
    assert response.status_code == 422
    assert detail in response.json()["detail"]


@pytest.mark.parametrize(("field", "value"), [("priority", "urgent"), ("more", "x"), ("no_header", "perhaps")])
def test_a_field_of_a_form_that_is_not_valid_is_refused(client: JobsClient, field: str, value: str) -> None:
    response = client.http.post("/jobs/inference", files={"file": ("a.csv", b"text\n")}, data={field: value})
    assert response.status_code == 422
    assert value == "x" or field in response.json()["detail"]


def test_the_same_key_gives_the_same_job(client: JobsClient) -> None:
    first, second = (client.submit({"texts": ["good"]}, headers={"Idempotency-Key": "one"}) for _ in range(2))
    assert first == second
    other = client.http.post("/jobs/inference", json={"texts": ["bad"]}, headers={"Idempotency-Key": "one"})
    assert other.status_code == 422
    assert "Idempotency-Key" in other.json()["detail"]


def test_the_same_key_gives_the_same_upload(stack: Stack, client: JobsClient) -> None:
    options = {"files": {"file": ("a.csv", b"text\ngood\n")}, "headers": {"Idempotency-Key": "two"}}
    first, second = (client.http.post("/jobs/inference", **options).json()["id"] for _ in range(2))
    assert first == second
    client.wait(first)


def test_events_tell_each_change_until_the_end(client: JobsClient) -> None:
    job_id = client.submit({"texts": ["good"] * 5})
    with client.http.stream("GET", f"/jobs/{job_id}/events") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["X-Accel-Buffering"] == "no"
        events = events_of(response)
    assert events[-1][1]["status"] == "completed"
    assert events[-1][1] == client.job(job_id)
    ids = [int(event_id) for event_id, _ in events]
    assert ids == sorted(ids)  # one without a change, every five seconds, has the id of the one before


def test_events_go_on_after_the_last_one_that_was_received(client: JobsClient) -> None:
    job_id = client.submit({"texts": ["good"]})
    client.wait(job_id)
    with client.http.stream("GET", f"/jobs/{job_id}/events") as response:
        [(event_id, _)] = events_of(response)
    known = client.http.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": event_id})
    assert known.status_code == 204  # which ends the attempts of a browser
    with client.http.stream("GET", f"/jobs/{job_id}/events", headers={"Last-Event-ID": "0"}) as response:
        assert [event_id for event_id, _ in events_of(response)] == [event_id]


def test_jobs_are_listed_by_page_and_filter(client: JobsClient) -> None:
    job_ids = [client.submit({"texts": ["good"]}) for _ in range(3)]
    for job_id in job_ids:
        client.wait(job_id)
    found: list[str] = []
    cursor = ""
    while True:
        page = client.http.get("/jobs", params={"limit": 2, "cursor": cursor, "status": "completed"}).json()
        assert len(page["jobs"]) <= 2
        found += [job["id"] for job in page["jobs"]]
        cursor = page["cursor"]
        if not cursor:
            break
    assert found[:3] == job_ids[::-1]
    assert len(found) == len(set(found))
    assert client.http.get("/jobs", params={"cursor": "what"}).status_code == 422


def test_a_job_that_is_over_is_forgotten_with_its_files(stack: Stack, client: JobsClient) -> None:
    job_id = client.submit({"texts": ["good"]})
    client.wait(job_id)
    assert (stack.folder / "store" / job_id).exists()
    assert client.http.delete(f"/jobs/{job_id}").status_code == 204
    assert not (stack.folder / "store" / job_id).exists()
    for response in (client.http.get(f"/jobs/{job_id}"), client.http.delete(f"/jobs/{job_id}")):
        assert response.status_code == 404
        assert response.json()["detail"] == "you have no job of this id"


def test_no_text_is_in_redis_or_in_a_log(stack: Stack, client: JobsClient) -> None:
    import redis

    job_id = client.submit({"texts": ["unmistakable good"] * 3})
    client.wait(job_id)
    database = redis.Redis.from_url(stack.settings["redis_url"])
    dump = b"".join(database.dump(key) or b"" for key in database.scan_iter())
    assert job_id.encode() in dump
    assert b"unmistakable" not in dump
    assert "unmistakable" not in stack.worker.log.read_text() + stack.server.log.read_text()


def test_logs_name_the_job_and_the_request(stack: Stack, client: JobsClient) -> None:
    job_id = client.submit({"texts": ["good"]}, headers={"X-Request-ID": "my-request"})
    client.wait(job_id)
    assert stack.worker.wait_for("job ended", job=job_id)["request_id"] == "my-request"


def test_metrics_and_logs_name_the_route_and_not_the_job(stack: Stack, client: JobsClient) -> None:
    job_id = client.submit({"texts": ["good"]})
    client.wait(job_id)
    assert stack.server.wait_for("request", path="/jobs/{id}")
    assert job_id not in client.http.get("/metrics").text


def test_a_second_worker_beside_the_first_doubles_nothing(stack: Stack, client: JobsClient) -> None:
    with worker(**stack.settings):
        job_ids = [client.upload(csv_of(50)) for _ in range(6)]
        for job_id in job_ids:
            assert client.wait(job_id)["attempts"] == 1
            assert [int(row["id"]) for row in client.rows(job_id)] == list(range(50))


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_a_job_begins_at_its_time(client: JobsClient) -> None:
    job_id = client.submit({"texts": ["good"], "run_at": in_seconds(2)})
    assert client.job(job_id)["status"] == "pending"
    job = client.wait(job_id)
    assert job["started_at"] > job["metadata"]["run_at"]
    early = client.submit({"texts": ["good"], "run_at": in_seconds(-1000)})
    assert client.wait(early)["status"] == "completed"


def test_a_job_is_repeated_until_the_next_one_is_cancelled(stack: Stack, client: JobsClient) -> None:
    (stack.sources / "again.csv").write_text("text\ngood\n")
    source = {"url": f"file://{stack.sources}/again.csv"}
    job_id = client.submit({"source": source, "every": "PT1H"})
    assert client.wait(job_id)["metadata"]["every_s"] == 3600
    waiting = client.http.get("/jobs?status=pending").json()["jobs"]
    [following] = [job for job in waiting if job["metadata"].get("every_s")]
    assert following["metadata"]["run_at"] > in_seconds(3000)
    assert client.http.delete(f"/jobs/{following['id']}").json()["status"] == "cancelled"


@pytest.mark.parametrize(
    "schedule",
    [
        {"run_at": "tomorrow"},
        {"run_at": "2027-01-31T04:00:00"},  # in which zone?
        {"run_at": in_seconds(400 * 86400)},
        {"every": "PT1H"},  # of texts, which do not change
        {"every": "PT1S"},
        {"every": "often"},
    ],
)
def test_a_schedule_that_cannot_be_is_refused(client: JobsClient, schedule: dict[str, str]) -> None:
    assert client.http.post("/jobs/inference", json={"texts": ["good"], **schedule}).status_code == 422
    response = client.http.post("/jobs/inference", files={"file": ("a.csv", b"text\n")}, data=schedule)
    assert response.status_code == 422


def test_a_large_body_keeps_its_options(client: JobsClient) -> None:
    job_id = client.submit({"texts": ["good " * 20] * 300, "options": {"prefix": "p_"}, "priority": "high"})
    assert client.wait(job_id)["metadata"]["priority"] == "high"
    assert [row["p_label"] for row in client.rows(job_id)] == ["positive"] * 300
    wrong = client.http.post("/jobs/inference", json={"texts": [*["good " * 20] * 300, 5]})
    assert wrong.json()["detail"].startswith("body.texts.300: ")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/jobs?limit=0", {}),
        ("/jobs?status=what", {}),
        ("/jobs/0f3c/result?format=what", {}),
        ("/jobs/0f3c/events", {"Last-Event-ID": "1" * 30}),
    ],
)
def test_a_parameter_that_is_not_valid_is_named(client: JobsClient, path: str, headers: dict[str, str]) -> None:
    response = client.http.get(path, headers=headers)
    assert response.status_code == 422
    assert response.headers["Content-Type"] == "application/problem+json"
    [error] = response.json()["errors"]
    assert error["loc"][0] in ("query", "header")
    assert error.keys() == {"loc", "msg"}  # and not the input


def test_head_is_answered_without_a_body(client: JobsClient) -> None:
    job_id = client.submit({"texts": ["good"]})
    client.wait(job_id)
    for path in ("/jobs", f"/jobs/{job_id}", f"/jobs/{job_id}/events", f"/jobs/{job_id}/result?format=csv"):
        response = client.http.head(path)
        assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("form", ["ndjson", "csv", "tsv", "parquet"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_without_rows_has_a_result(client: JobsClient, kind: str, form: str) -> None:
    table = io.BytesIO()
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), table)
    job_id = client.upload(table.getvalue() if kind == "parquet" else b"text\n", f"in.{kind}")
    assert client.wait(job_id)["status"] == "completed"
    response = client.result(job_id, form)
    assert response.status_code == 200
    if form == "parquet":
        assert pq.read_table(io.BytesIO(response.content)).num_rows == 0


def test_columns_of_one_name_cannot_be_json(client: JobsClient) -> None:
    job_id = client.upload(b"a,a,text\n1,2,good\n")
    client.wait(job_id)
    assert client.result(job_id, "csv").text.splitlines()[1].startswith("1,2,good,positive")
    refused = client.result(job_id, "ndjson")
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["query", "format"])
