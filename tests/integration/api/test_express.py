"""The short way and FastAPI's: the same answers, the same lines, and who takes which."""

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.access.keys import add_key
from tests.support.process import Server, serve

JSON = {"Content-Type": "application/json"}
LONG_WAY = {"Origin": "https://a.example"}  # without CORS it changes nothing else
OWN = {"date", "x-request-id", "server-timing", "content-length"}  # of each answer


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    return file, add_key(file, "web")


# Has a server tell who takes the short way.
TELLING = """
import logging
from app.api.exchange import Exchange
from app.logs import log
run = Exchange.run
def told(exchange, content):
    log(logging.INFO, "short way", request_id=exchange.scope["state"]["id"])
    run(exchange, content)
Exchange.run = told
"""


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    """A server as it comes."""
    with serve(backend="mock", prelude=TELLING) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(key: tuple[Path, str]) -> Iterator[Server]:
    """A server with keys, hosts and a rate, where little is too much."""
    limits = {"rate_limit": "1000/hour", "max_text_chars": "40", "max_body_bytes": "1024", "max_header_bytes": "1024"}
    hosts = "api.example,127.0.0.1"
    with serve(backend="mock", prelude=TELLING, api_keys_file=str(key[0]), allowed_hosts=hosts, **limits) as running:
        yield running


def ask(server: Server, path: str, body: Any, headers: dict[str, str]) -> tuple[int, dict[str, str], Any]:
    """Status, headers and content of an answer, as they come over the wire."""
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=30)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    chunked = "Transfer-Encoding" in headers
    connection.request("POST", path, iter([content]) if chunked else content, JSON | headers, encode_chunked=chunked)
    response = connection.getresponse()
    found = json.loads(response.read())
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, found


def told(server: Server, given: dict[str, str]) -> int:
    """How often a request of this id has taken the short way."""
    return [line["request_id"] for line in server.events("short way")].count(given["x-request-id"])


def lines_of(server: Server, given: dict[str, str], count: int) -> list[dict[str, Any]]:
    """The lines of requests of this id, as soon as there are so many."""
    for _ in range(1000):
        lines = [line for line in server.events("request") if line["request_id"] == given["x-request-id"]]
        if len(lines) >= count:
            return lines
        time.sleep(0.01)
    raise AssertionError(given)


def both(server: Server, path: str, body: Any, headers: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What can be seen of a request by the short way, and by the long one."""
    seen = []
    for number, way in enumerate(({}, LONG_WAY)):
        series = 'http_requests_total{handler="%s",method="POST",status="%d"}'
        status, given, _ = ask(server, path, body, headers | way)
        # Its line is the last that is done for a request, behind its answer.
        server.wait_for("request", request_id=given["x-request-id"])
        before = server.metric(series % (path, status)), told(server, given)
        status, given, found = ask(server, path, body, headers | way)
        again = given["x-request-id"] in headers.values()
        line = lines_of(server, given, 2 * number + 2 if again else 1)[-1]
        assert told(server, given) - (before[1] if again else 0) == (way == {})
        counted = server.metric(series % (path, status)) - before[0]
        assert found.pop("request_id", given["x-request-id"]) == given["x-request-id"]
        limits = {name for name in given if name.startswith("ratelimit-")}
        seen.append(
            {
                "status": status,
                "headers": {name: value for name, value in given.items() if name not in OWN | limits},
                "timings": [part.split(";")[0] for part in given.get("server-timing", "").split(", ")],
                "limits": limits,
                "content": found,
                "counted": counted,
                "line": {name: value for name, value in line.items() if name in ("method", "path", "key", "client")},
                "fields": list(line),
            }
        )
    return seen[0], seen[1]


GOOD = {"text": "good, they say"}


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/predict", GOOD, {}, 200),
        ("/predict", GOOD | {"top_k": 1, "truncate": False, "long_text": "window"}, {}, 200),
        ("/predict", {"text": "word " * 600}, {}, 200),
        ("/predict", {"text": "word " * 600, "truncate": False}, {}, 413),
        ("/predict", GOOD, {"X-Request-ID": "order-66/"}, 200),
        ("/predict", GOOD, {"X-Request-ID": "no id"}, 200),
        ("/predict", GOOD, {"X-Request-Timeout-Ms": "500"}, 200),
        ("/predict", GOOD, {"X-Request-Timeout-Ms": "soon"}, 422),
        ("/predict", GOOD, {"X-Forwarded-For": "203.0.113.5"}, 200),
        ("/predict", GOOD, {"X-Forwarded-For": "what somebody wrote"}, 200),
        ("/predict", GOOD, {"Content-Type": "application/json; charset=utf-8"}, 200),
        ("/predict", GOOD, {"Connection": "close"}, 200),
        ("/predict", GOOD, {"Transfer-Encoding": "chunked"}, 200),
        ("/predict", GOOD, {"Content-Length": "0" * 5000 + str(len(json.dumps(GOOD)))}, 200),
        ("/predict", {"text": ""}, {}, 422),
        ("/predict", {"text": " \u200b"}, {}, 422),
        ("/predict", {"text": 1}, {}, 422),
        ("/predict", {}, {}, 422),
        ("/predict", GOOD | {"more": 1}, {}, 422),
        ("/predict", b'{"text', {}, 400),
        ("/predict", b"", {}, 400),
        ("/predict", {"text": "x" * 10_001}, {}, 413),
        ("/predict", {"text": "bad [fail]"}, {}, 500),
        ("/predict/batch", {"texts": ["good", "bad", "good"]}, {}, 200),
        ("/predict/batch", {"texts": ["good", " "]}, {}, 422),
        ("/predict/batch", {"texts": []}, {}, 422),
        ("/predict/batch", {"texts": ["a"] * 257}, {}, 413),
    ],
)
def test_both_ways_answer_alike(plain: Server, path: str, body: Any, headers: dict[str, str], status: int) -> None:
    short, long = both(plain, path, body, headers)
    assert short == long
    assert (short["status"], short["counted"]) == (status, 1)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (GOOD, {}, 401),
        (GOOD, {"X-API-Key": "rts_wrong"}, 403),
        (GOOD, {"X-API-Key": "KEY"}, 200),
        (GOOD, {"Authorization": "Bearer KEY"}, 200),
        (GOOD, {"X-API-Key": "KEY", "Host": "evil.example"}, 400),
        (GOOD, {"X-API-Key": "KEY", "X-Much": "x" * 1024}, 431),
        ({"text": "x" * 41}, {"X-API-Key": "KEY"}, 413),
        (b" " * 2000, {"X-API-Key": "KEY", "Transfer-Encoding": "chunked"}, 413),
    ],
)
def test_both_ways_have_the_same_gates(
    guarded: Server, key: tuple[Path, str], body: Any, headers: dict[str, str], status: int
) -> None:
    headers = {name: value.replace("KEY", key[1]) for name, value in headers.items()}
    short, long = both(guarded, "/predict", body, headers)
    assert short == long
    assert short["status"] == status
    assert short["line"].get("key") == ("web" if status in (200, 413) else None)
    assert bool(short["limits"]) == (status == 200 or body == {"text": "x" * 41})


def test_both_ways_count_what_a_caller_asks_for() -> None:
    with serve(backend="mock", prelude=TELLING, rate_limit="4/hour") as server:
        assert both(server, "/predict", GOOD, {})[0]["status"] == 200
        short, long = both(server, "/predict", GOOD, {})
        waits = [int(each["headers"].pop("retry-after")) for each in (short, long)]
        assert waits[0] - 60 < waits[1] <= waits[0]  # the clock runs
        assert short == long
        assert (short["status"], short["content"]["title"]) == (429, "Too Many Requests")
        assert short["limits"] == {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (GOOD, {"Content-Type": "text/plain"}, 415),
        (GOOD, {"Content-Encoding": "gzip"}, 415),
        (b" " * 200_000, {}, 413),
    ],
)
def test_what_the_headers_alone_are_refused_for_goes_the_long_way(
    plain: Server, body: Any, headers: dict[str, str], status: int
) -> None:
    found, given, _ = ask(plain, "/predict", body, headers)
    assert found == status
    assert not told(plain, given)
