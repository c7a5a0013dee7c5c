"""Streams on a real server: both directions at once, slow and absent clients, and the end of the server."""

import contextlib
import re
import shutil
import subprocess
import threading
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.access import add_key
from tests.support.gate import Gate
from tests.support.process import Server, serve
from tests.support.raw_stream import RawStream, chunk
from tests.support.waiting import HANG_S, until

CURL = shutil.which("curl")
BUFFER = 64 * 1024
SMALL_BUFFERS = f"""
import socket
import app.server.process
listen = app.server.process.listen
def listen_with_small_buffers(*args):
    listener = listen(*args)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, {BUFFER})
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, {BUFFER})
    return listener
app.server.process.listen = listen_with_small_buffers
"""


def lines(count: int, text: str = "line {}") -> list[dict[str, Any]]:
    return [{"id": number, "text": text.format(number)} for number in range(count)]


def resident_mib(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def test_a_line_is_answered_before_the_next_is_sent(mock_server: Server) -> None:
    with RawStream(mock_server.address, "?top_k=1", {"X-Request-ID": "stream-1"}) as stream:
        status, headers = stream.head()  # before any line
        assert (status, headers["content-type"], headers["x-request-id"]) == (200, "application/x-ndjson", "stream-1")
        assert re.fullmatch(r"\S+@\S+", headers["x-model"])
        answers = stream.answers()
        for text in ("a good day", "a bad day", " "):
            stream.send({"id": text, "text": text})
            answer = next(answers)
            single = mock_server.post({"text": text, "top_k": 1})
            expected = single.json() if single.status_code == 200 else None
            assert answer.pop("id") == text
            assert answer == expected or answer["error"]["status"] == single.status_code == 422
        stream.finish()
        assert list(answers) == []
        stream.socket.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")  # the connection is as good as new
        assert stream.head()[0] == 200
    line = mock_server.wait_for("request", request_id="stream-1")
    assert (line["path"], line["status"], line["lines"], line["failed"]) == ("/predict/stream", 200, 3, 1)
    assert "good day" not in mock_server.log.read_text()


def test_thousands_of_lines_are_answered_in_their_order(mock_server: Server) -> None:
    bad = (b"nonsense\n", b"\n", b'{"id":1}\r\n', b"\xff\n", b'{"text":"' + b"x" * 200_000 + b'"}\n', b"   \n")

    def send() -> None:
        for number in range(0, 3000, 100):
            stream.send(*lines(3000)[number : number + 100], bad[number // 100 % len(bad)])
        stream.finish()

    with RawStream(mock_server.address) as stream:
        sender = threading.Thread(target=send)
        sender.start()
        assert stream.head()[0] == 200
        answers = list(stream.answers())
        sender.join()
    assert [answer["id"] for answer in answers if "label" in answer] == [*range(3000)]
    failures = [answer["error"]["status"] for answer in answers if "error" in answer]
    assert failures == [400, 422, 400, 413] * 5


def test_scores_are_those_of_single_requests(server: Server) -> None:
    texts = ["Not bad at all!", "I would not call it good.", "The parcel arrived on Tuesday.", "bad " * 600]
    with RawStream(server.address) as stream:
        stream.send(*({"id": text[:9], "text": text} for text in texts))
        stream.finish()
        stream.head()
        answers = list(stream.answers())
    for text, answer in zip(texts, answers, strict=True):
        single = server.post({"text": text}).json()
        assert answer["scores"] == pytest.approx(single["scores"], abs=0.001)
        assert (answer["id"], answer["label"], answer["truncated"]) == (text[:9], single["label"], single["truncated"])


def test_a_client_that_does_not_read_is_not_read_from_and_loses_nothing() -> None:
    # The same text again and again, which costs little, in lines that are long.
    block = chunk(*(b'{"id":%d,"text":"good"%b}\n' % (number, b" " * 500) for number in range(20)))
    with (
        serve(backend="mock", prelude=SMALL_BUFFERS) as server,
        RawStream(server.address, buffer_bytes=BUFFER) as stream,
    ):
        before_mib = resident_mib(server)
        sent, total = 0, len(block) * 4000  # 43 MB, and 10 MB of answers
        stream.socket.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while sent < total:
                sent += stream.socket.send(block[sent % len(block) :])
        assert sent < total / 2
        assert resident_mib(server) < before_mib + 15
        assert server.post({"text": "another client"}).status_code == 200
        stream.socket.settimeout(HANG_S)
        rest = block[sent % len(block) :] if sent % len(block) else b""
        sender = threading.Thread(target=lambda: stream.socket.sendall(rest + b"0\r\n\r\n"))
        sender.start()
        assert stream.head()[0] == 200
        assert [answer["id"] for answer in stream.answers()] == [*range(20)] * -(-sent // len(block))
        sender.join()


@pytest.mark.parametrize("is_complete", [False, True])
def test_a_client_that_leaves_stops_its_texts(gate: Gate, is_complete: bool) -> None:
    with serve(backend="mock", prelude=gate.before_runs) as server:
        with RawStream(server.address) as stream:
            stream.send(*lines(500))
            if is_complete:
                stream.finish()
            until(lambda: server.metric("sentiment_queue_texts"))
            assert server.metric("sentiment_streams") == 1
        server.wait_for_metric("sentiment_streams", 0)
        server.wait_for_metric("sentiment_queue_texts", 0)
        gate.open()
        assert server.post({"text": "good"}).status_code == 200


def test_a_drain_ends_a_stream_and_no_answer_is_lost(gate: Gate) -> None:
    with serve(backend="mock", prelude=gate.before_runs) as server:
        with RawStream(server.address) as stream:
            stream.send(*lines(10))
            server.wait_for_misses(10)
            server.terminate()
            server.wait_for("draining")
            stream.send(*lines(1, "too late"))
            gate.open()
            assert stream.head()[0] == 200
            *answers, last = stream.answers()
        assert [answer["id"] for answer in answers] == [*range(10)]
        assert last == {"error": {"status": 503, "detail": "the server is shutting down"}}
        assert server.wait() == 0


def test_single_requests_of_a_client_are_answered_beside_its_stream() -> None:
    with serve(backend="mock", mock_delay_ms="10", max_wait_ms="300", cache_entries="0") as server:
        with RawStream(server.address) as stream:
            sender = threading.Thread(target=lambda: (stream.send(*lines(1500)), stream.finish()))
            sender.start()
            stream.head()
            answers = stream.answers()
            assert len(list(islice(answers, 100))) == 100
            statuses = {server.post({"text": f"single {number}"}).status_code for number in range(20)}
            assert [answer["id"] for answer in answers] == [*range(100, 1500)]
            sender.join()
        assert statuses == {200}


def test_a_stream_needs_a_key_and_counts_towards_the_rate(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    key = add_key(file, "streamer")
    with serve(backend="mock", api_keys_file=str(file), rate_limit="5/day") as server:
        with RawStream(server.address) as stream:
            assert stream.head()[0] == 401
        headers = {"X-API-Key": key, "X-Request-Timeout-Ms": "200"}
        with RawStream(server.address, headers=headers) as stream:
            stream.send(*lines(7))
            stream.finish()
            status, head = stream.head()
            statuses = [answer.get("error", {}).get("status", 200) for answer in stream.answers()]
        assert (status, head["ratelimit-limit"], statuses) == (200, "5", [200] * 5 + [429] * 2)
        assert server.metric('sentiment_stream_lines_total{status="429"}') == 2


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("?explain=true", {}, 422),
        ("?top_k=0", {}, 422),
        ("?secret=1", {}, 422),
        ("", {"Content-Type": "application/json"}, 415),
        ("", {"X-Request-Timeout-Ms": "soon"}, 422),
    ],
)
def test_what_is_wrong_with_the_request_is_said_before_any_line(
    mock_server: Server, query: str, headers: dict[str, str], status: int
) -> None:
    types = {"Content-Type": "application/x-ndjson"} | headers
    response = httpx.post(f"{mock_server.address}/predict/stream{query}", content=b"", headers=types)
    assert response.status_code == response.json()["status"] == status
    assert "secret" not in response.text


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
@pytest.mark.parametrize("flags", [["-T"], ["-H", "Expect: 100-continue", "--data-binary"]])
def test_curl_streams_a_file(mock_server: Server, tmp_path: Path, flags: list[str]) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(f'{{"id":{number},"text":"a good day {number}"}}\n' for number in range(2000)))
    name = str(file) if flags == ["-T"] else f"@{file}"
    command = [
        str(CURL),
        "-sS",
        "--noproxy",
        "*",
        "-X",
        "POST",
        "-H",
        "Content-Type: application/x-ndjson",
        *flags,
        name,
    ]
    done = subprocess.run([*command, f"{mock_server.address}/predict/stream"], capture_output=True, check=True)
    assert done.stdout.count(b'"label":"positive"') == 2000
