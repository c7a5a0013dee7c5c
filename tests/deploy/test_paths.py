"""Other spellings of our paths, through nginx and without it: none of them is a path of ours, for either."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.paths import spellings_of
from tests.support.replicas import Replicas, running
from tests.support.waiting import HANG_S

BODY = b'{"text": "good"}'


@pytest.fixture(scope="module")
def replicas() -> Iterator[Replicas]:
    with running("--replicas", "1", backend="mock", root_path="/api") as started:
        yield started


async def exchange(address: str, line: str) -> int:
    """Send a request with this first line, and return the status of its response."""
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"{line}\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
    writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
    answer = await asyncio.wait_for(reader.read(), HANG_S)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ") or b"application/problem+json\r\n" in answer, answer
    return int(answer.split()[1])


async def statuses(address: str, targets: list[str], method: str = "GET") -> dict[str, int]:
    turns = asyncio.Semaphore(20)

    async def status(target: str) -> int:
        async with turns:
            return await exchange(address, f"{method} {target} HTTP/1.1")

    return dict(zip(targets, await asyncio.gather(*map(status, targets)), strict=True))


@pytest.mark.parametrize(("method", "name"), [("POST", "predict"), ("GET", "metrics")])
async def test_another_spelling_of_a_path_reaches_no_route(replicas: Replicas, method: str, name: str) -> None:
    for address in (replicas.address, *replicas.replicas()):
        answers = await statuses(address, spellings_of(name), method)
        assert {target: status for target, status in answers.items() if status not in (400, 404)} == {}
    assert not [line for line in replicas.lines(path=f"/{name}") if line["status"] not in (400, 404)]


@pytest.mark.parametrize("prefix", ["", "/api", "http://a", "HTTP://A/api"])
async def test_only_metrics_differ_between_nginx_and_the_service(replicas: Replicas, prefix: str) -> None:
    paths = {f"{prefix}/{name}?x=%0a%2f": 200 for name in ("metrics", "info", "docs", "livez", "openapi.json")}
    paths[f"{prefix}/predict?x=%0a%2f"] = 405
    (direct,) = replicas.replicas()
    assert await statuses(direct, list(paths)) == paths
    assert await statuses(replicas.address, list(paths)) == paths | {f"{prefix}/metrics?x=%0a%2f": 404}
    assert await statuses(replicas.address, [f"{prefix}/predict"], "POST") == {f"{prefix}/predict": 200}


@pytest.mark.parametrize(
    "version",
    ["HTTP/2.0", "HTTP/2", "HTTP/3.0", "HTTP/3", "HTTP/0.9", "HTTP/1.2", "HTTP/1.9", "HTTP/1.10", "HTTP/01.1",
     "http/1.1", "HTTP/9.9", "HTTP/1", "HTTP/1.", "HTTP/.1", "HTTP1.1", "HTTPS/1.1", "RTSP/1.0", " RTSP/1.1", "ICE/1.0",
     "HTTP/1.1 x"],
)  # fmt: skip
async def test_another_version_of_http_is_refused(replicas: Replicas, version: str) -> None:
    for address in (replicas.address, *replicas.replicas()):
        for line in (f"GET /livez {version}", f"POST /predict {version}"):
            assert await exchange(address, line) in (400, 505)


@pytest.mark.parametrize("line", ["OPTIONS * HTTP/1.1", "GET * HTTP/1.1", "CONNECT a:80 HTTP/1.1", "PRI * HTTP/2.0"])
async def test_a_target_for_proxies_and_tunnels_is_refused(replicas: Replicas, line: str) -> None:
    for address in (replicas.address, *replicas.replicas()):
        assert await exchange(address, line) == 400
