"""What the jobs of a client do when connections break, against a server that follows a script."""

import asyncio
import io
import json
import re
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rt_sentiment_client import DeadlineExceeded, SentimentError, Unavailable, UnexpectedResponse

from tests.support.both_clients import EITHER, Connect
from tests.support.scripted import Reply, Request, disconnect, hang, problem, respond, scripted

ACCEPTED = {"id": "a1", "status": "pending", "status_url": "/jobs/a1/status"}
TIME = "2027-01-31T04:00:00.000Z"


def job(status: str = "running", done: int = 0, **fields: Any) -> dict[str, Any]:
    progress = {"done": done, "total": None, "per_s": 1, "eta_s": None}
    times = {"created_at": TIME, "updated_at": TIME, "started_at": None, "finished_at": None}
    rest = {"attempts": 1, "result": None, "error": None, "metadata": {}}
    return {"id": "a1", "type": "inference", "status": status, "progress": progress, "new": 1} | times | rest | fields


def event(version: int, **fields: Any) -> bytes:
    return f": hello\r\nevent: status\nid: {version}\ndata: {json.dumps(job(**fields))}\n\n".encode()


def row(number: int) -> bytes:
    scores = {"label": "positive", "confidence": 0.9, "scores": {"positive": 0.9}, "truncated": False, "error": None}
    return json.dumps({"n": number} | scores).encode() + b"\n"


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def pieces(*chunks: bytes, whole: bool, size: int = 7) -> Reply:
    """Send a response in small pieces; leave out its end if it is not to be whole."""

    async def reply(request: Request, writer: asyncio.StreamWriter) -> bool:
        content = b"".join(chunks)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for start in range(0, len(content), size):
            piece = content[start : start + size]
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        if whole:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return whole

    return reply


@EITHER
@pytest.mark.parametrize("fault", [disconnect, problem(503), problem(502), problem(429)])
async def test_a_repeated_upload_has_the_same_key_and_bytes(connect: Connect, fault: Reply, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b"text\n" + b"x" * 200_000)
    async with scripted(fault, fault, respond(202, ACCEPTED)) as server, connect(server.address) as client:
        assert (await client.jobs.submit(file=path)).id == "a1"
    assert len(server.requests) == 3
    assert len({(request.headers["idempotency-key"], request.body) for request in server.requests}) == 1
    assert b"x" * 200_000 in server.requests[0].body


@EITHER
async def test_each_submit_has_a_key_of_its_own(connect: Connect) -> None:
    async with scripted(respond(202, ACCEPTED)) as server, connect(server.address) as client:
        for key in (None, None, "mine"):
            await client.jobs.submit(source="file:///a.csv", text_column=3, idempotency_key=key)
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert keys[0] != keys[1]
    assert keys[2] == "mine"
    assert server.requests[0].json == {"source": {"url": "file:///a.csv", "text_column": "3"}, "options": {}}


@EITHER
async def test_a_column_that_cannot_be_is_left_to_the_server(connect: Connect) -> None:
    async with scripted(respond(202, ACCEPTED)) as server, connect(server.address) as client:
        await client.jobs.submit(source="file:///a.csv", text_column=0)
    assert server.requests[0].json["source"]["text_column"] == "0"


@EITHER
async def test_what_can_be_read_only_once_is_sent_only_once(connect: Connect) -> None:
    async def refuse(request: Request, writer: asyncio.StreamWriter) -> bool:
        lines = [line async for line in request.lines]
        assert b'{"text":"good"}' in lines
        return await problem(503)(request, writer)

    async with scripted(refuse) as server, connect(server.address) as client:
        with pytest.raises(Unavailable):
            await client.jobs.submit(texts=iter(["good"]))
    assert len(server.requests) == 1


@EITHER
async def test_an_upload_without_an_answer_ends_at_the_limit(connect: Connect) -> None:
    async with scripted(hang) as server, connect(server.address) as client:
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(client.jobs.submit(file=io.BytesIO(b"text\n"), timeout_s=0.3), 100)


@EITHER
async def test_events_go_on_after_the_last_one(connect: Connect) -> None:
    replies = [
        pieces(event(1, done=1), event(2, done=2), b"id: 3\ndata: {", whole=False),
        problem(503),
        pieces(whole=True),
        pieces(event(3, done=3), event(4, status="completed"), whole=True),
    ]
    async with scripted(*replies) as server, connect(server.address) as client:
        states = await client.jobs.events("a1")
    assert [state.progress.done for state in states] == [1, 2, 3, 0]
    assert states[-1].is_over
    assert [request.headers.get("last-event-id") for request in server.requests] == [None, "2", "2", "2"]


@EITHER
async def test_events_that_stay_away_fail_at_the_limit(connect: Connect) -> None:
    async with scripted(problem(503, retry_after="3600")) as server, connect(server.address) as client:
        with pytest.raises(Unavailable):
            await client.jobs.wait("a1", 1000)
    assert len(server.requests) == 1


@EITHER
async def test_rows_are_delivered_once_although_the_connection_breaks(connect: Connect) -> None:
    rows = [row(number) for number in range(20)]
    replies = [
        pieces(*rows[:5], rows[5][:10], whole=False),
        pieces(*rows[:3], whole=False),
        pieces(*rows[:12], whole=False),
        pieces(*rows, whole=True),
    ]
    async with scripted(*replies) as server, connect(server.address) as client:
        assert [row.columns["n"] for row in await client.jobs.result("a1")] == [*range(20)]
    assert len(server.requests) == 4


@EITHER
async def test_a_download_is_whole_or_not_there(connect: Connect, tmp_path: Path) -> None:
    replies = [pieces(b"a" * 100, whole=False), pieces(b"b" * 50, whole=False), pieces(b"c" * 70, whole=True)]
    async with scripted(*replies) as server, connect(server.address) as client:
        await client.jobs.download("a1", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == b"c" * 70
    async with scripted(pieces(b"a", whole=False)) as server, connect(server.address, max_attempts=3) as client:
        with pytest.raises(Unavailable) as raised:
            await client.jobs.download("a1", tmp_path / "other.csv")
    assert (raised.value.attempts, len(server.requests)) == (3, 3)
    assert names_in(tmp_path) == ["out.csv"]


@EITHER
@pytest.mark.parametrize("name", ["cancel", "delete", "retry"])
async def test_what_must_not_be_done_twice_is_sent_once(connect: Connect, name: str) -> None:
    looks = {"cancel": [respond(content=job())], "delete": [respond(content=job("failed"))], "retry": []}[name]
    async with scripted(*looks, disconnect, respond(content=job())) as server, connect(server.address) as client:
        with pytest.raises(Unavailable):
            await getattr(client.jobs, name)("a1")
    assert len(server.requests) == len(looks) + 1
    async with (
        scripted(*looks, problem(429), problem(503), respond(content=job())) as server,
        connect(server.address) as client,
    ):
        done = await getattr(client.jobs, name)("a1")
        assert done is None if name == "delete" else done.status == "running"
    assert len(server.requests) == len(looks) + 3


@EITHER
async def test_a_training_is_downloaded_as_it_is(connect: Connect, tmp_path: Path) -> None:
    for name, looks in (("stars", [respond(content=job("completed", type="training"))]), ("stars.TAR", [])):
        async with scripted(*looks, pieces(b"model", whole=True)) as server, connect(server.address) as client:
            await client.jobs.download("a1", tmp_path / name)
        assert server.requests[-1].path == "/jobs/a1/result?format=tar"
        assert (tmp_path / name).read_bytes() == b"model"


@EITHER
@pytest.mark.parametrize(
    ("call", "content"),
    [
        (lambda jobs: jobs.get("a1"), job(created_at="yesterday")),
        (lambda jobs: jobs.get("a1"), job(progress={})),
        (lambda jobs: jobs.get("a1"), []),
        (lambda jobs: jobs.list(), {"jobs": [job()]}),
        (lambda jobs: jobs.submit(source="file:///a"), {"id": 1}),
        (lambda jobs: jobs.events("a1"), b"data: {}\n\n"),
        (lambda jobs: jobs.result("a1"), b"{}\n"),
        (lambda jobs: jobs.result("a1"), b"what\n"),
    ],
)
async def test_what_is_not_from_our_server_is_an_error(
    connect: Connect, call: Callable[[Any], Any], content: object
) -> None:
    async with scripted(respond(content=content)) as server, connect(server.address) as client:
        with pytest.raises(UnexpectedResponse):
            await call(client.jobs)
    assert len(server.requests) == 1


@EITHER
@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda jobs: jobs.submit(), "one of texts, file and source"),
        (lambda jobs: jobs.submit(texts=["a"], source="file:///a"), "one of texts, file and source"),
        (lambda jobs: jobs.submit(texts="a"), "not a single text"),
        (lambda jobs: jobs.submit(texts=["a", 1]), "strings"),
        (lambda jobs: jobs.submit(file=io.StringIO("text\n")), "for bytes"),
        (lambda jobs: jobs.submit(file="/does/not/exist.csv"), "No such file"),
        (lambda jobs: jobs.submit(texts=["a"], run_at=datetime(2027, 1, 1)), "time zone"),  # noqa: DTZ001 - the point
        (lambda jobs: jobs.submit(texts=["a"], idempotency_key="a\r\nb: c"), "idempotency_key"),
        (lambda jobs: jobs.submit(texts=["a"], timeout_s=0), "timeout_s"),
        (lambda jobs: jobs.get(""), "id of a job"),
        (lambda jobs: jobs.list(page_size=0), "page_size"),
        (lambda jobs: jobs.wait("a1", 0), "timeout_s"),
        (lambda jobs: jobs.download("a1", "out", format="xml"), "format"),
        (lambda jobs: jobs.download("a1", "out.csv.gz"), "leave out .gz"),
        (lambda jobs: jobs.train(name="mine"), "either file or source"),
        (lambda jobs: jobs.train(name="", source="file:///a.csv"), "the name of the new model"),
        (lambda jobs: jobs.train(name="mine", source="a", run_at=datetime(2027, 1, 1)), "time zone"),  # noqa: DTZ001
    ],
)
async def test_wrong_arguments_are_refused(connect: Connect, call: Callable[[Any], Any], match: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # which answers nothing
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises((ValueError, TypeError, OSError), match=match) as raised:
            async with connect(address) as client:
                await call(client.jobs)
    assert not isinstance(raised.value, SentimentError)


@EITHER
async def test_an_id_cannot_name_another_path(connect: Connect) -> None:
    async with scripted(problem(404)) as server, connect(server.address) as client:
        with pytest.raises(SentimentError):
            await client.jobs.get("../metrics?a#b")
    assert re.fullmatch(r"/jobs/[\w.%-]+", server.requests[0].path)
