"""Every request counts against the rate, whatever its response."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.access import Credentials, Keys, RateLimit, add_key
from app.api import PredictBatchEndpoint, PredictEndpoint, authentication, header_limit
from app.api.bodies import Bodies
from app.api.middleware import Middleware
from app.api.schemas import Limits
from app.serving import Answer, Query
from app.types import Prediction
from tests.support.client import JSON, AsgiClient, scope_of
from tests.support.middleware import APP, Recorder
from tests.support.serving import lifecycle_of

LIMITS = Limits(max_text_chars=100, max_batch_texts=3, max_body_bytes=5000, request_timeout_ms=1000)
GOOD = Prediction("positive", 0.9, {"positive": 0.9})
BODY = b'{"text": "good"}'


class Service:
    """Answers with the same prediction for each text."""

    model = "m@1"

    async def begin(self, query: Query) -> Answer:
        return Answer([GOOD] * len(query.texts), "hit")


class Bench:
    """The middleware and the endpoints, with a limit of ten texts."""

    def __init__(self, *checks: Any) -> None:
        rate = RateLimit("10/day", "memory")
        lifecycle = lifecycle_of(Service())
        endpoints = [
            endpoint(lifecycle, LIMITS, Bodies(10**6), rate) for endpoint in (PredictEndpoint, PredictBatchEndpoint)
        ]
        self.middleware = Middleware(
            APP,
            endpoints={route: endpoint for endpoint in endpoints for route in endpoint.routes},
            checks=checks,
            observer=Recorder(),
            paths=["/predict", "/predict/batch"],
            rate=rate,
        )

    async def send(self, body: bytes = BODY, client: AsgiClient | None = None, **fields: Any) -> AsgiClient:
        client = client or AsgiClient(body)
        await self.middleware(scope_of(**fields), client.receive, client.send)
        return client

    async def left(self) -> int:
        """Return how many texts are left, after one that counts."""
        return int((await self.send()).headers["ratelimit-remaining"])


@pytest.mark.parametrize(
    ("status", "body", "fields"),
    [
        (400, b"{", {}),
        (400, b"\xff", {}),
        (400, b"", {}),
        (413, b" " * 5001, {}),
        (413, b'{"texts": ["a", "b", "c", "d"]}', {"path": "/predict/batch"}),
        (413, b'{"texts": []}', {"path": "/predict/batch", "headers": JSON | {"content-length": "9999999"}}),
        (415, BODY, {"headers": {"host": "a", "content-type": "text/plain"}}),
        (415, BODY, {"headers": JSON | {"content-encoding": "gzip"}}),
        (422, b'{"text": 1}', {}),
        (422, b'{"text": "good", "unknown": 1}', {}),
        (422, b'{"texts": [1], "partial": 2}', {"path": "/predict/batch"}),
        (422, BODY, {"headers": JSON | {"x-request-timeout-ms": "soon"}}),
        (431, BODY, {"headers": JSON | {"x-long": "x" * 5000}}),
        (200, BODY, {"path": "/unknown"}),  # the application that has no such path is not part of this test
        (200, b"", {"path": "/unknown", "method": "GET"}),
        (200, b"", {"path": "/predict", "method": "GET"}),
        (200, b"", {"path": "/livez", "method": "DELETE"}),
    ],
)
async def test_a_refused_request_counts_as_one_text(status: int, body: bytes, fields: dict[str, Any]) -> None:
    bench = Bench(header_limit(4000))
    refused = await bench.send(body, **fields)
    assert (refused.status, refused.headers["ratelimit-remaining"]) == (status, "9")
    assert await bench.left() == 8


async def test_a_request_whose_body_never_arrives_counts() -> None:
    bench, client = Bench(), AsgiClient(b"{", complete=False)
    client.leave()
    await bench.send(client=client)
    assert await bench.left() == 8


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/info", "/metrics", "/docs", "/static-offline-docs/a.js"])
async def test_probes_and_information_do_not_count(path: str) -> None:
    bench = Bench()
    assert "ratelimit-remaining" not in (await bench.send(path=path, method="GET")).headers
    assert await bench.left() == 9


async def test_over_the_limit_no_body_is_read_and_nothing_counts() -> None:
    bench = Bench()
    for _ in range(10):
        await bench.send(b"{")
    silent = AsgiClient(complete=False)  # reading its body would never end
    assert (await bench.send(client=silent)).status == 429
    assert int(silent.headers["retry-after"]) == int(silent.headers["ratelimit-reset"])


async def test_a_list_costs_its_texts_or_one_if_it_is_refused() -> None:
    bench = Bench()
    listed = json.dumps({"texts": ["a"] * 3}).encode()
    assert [(await bench.send(listed, path="/predict/batch")).status for _ in range(4)] == [200, 200, 200, 429]
    assert (await bench.send()).status == 429  # the refused list took the last one


async def test_without_a_valid_key_requests_count_by_address(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    key = add_key(file, "web")
    bench = Bench(authentication(Credentials(Keys(file)), protect_information=False))
    statuses = [(await bench.send(headers=JSON | {"x-api-key": f"{number}"})).status for number in range(11)]
    assert statuses == [403] * 10 + [429]
    assert (await bench.send()).status == 429
    assert (await bench.send(headers=JSON | {"x-api-key": key})).headers["ratelimit-remaining"] == "9"
