"""Only the path itself reaches a route: no other spelling of it, with or without a prefix."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from app.access import Credentials, Keys
from app.api import authentication
from app.config import load_settings
from app.main import create_app
from tests.support.client import AsgiClient, scope_of
from tests.support.middleware import Bench, Events
from tests.support.paths import spellings_of

APP = create_app(load_settings({"backend": "mock"}))
BELOW_PREFIX = create_app(load_settings({"backend": "mock", "root_path": "/api"}))
PREFIX = [(b"x-forwarded-prefix", b"/api")]


def scope(target: str, method: str, **fields: Any) -> dict[str, Any]:
    """Return the scope that uvicorn makes of a target."""
    path = target.partition("?")[0]
    return scope_of(unquote(path), method, raw_path=path.encode(), **fields)


def paths(name: str) -> list[str]:
    """Return the spellings that the server's parser lets through."""
    return [
        target for target in spellings_of(name) if target.startswith("/") and "#" not in target and target.isascii()
    ]


@pytest.mark.parametrize("name", ["predict", "predict/batch", "metrics", "info", "docs", "livez", "openapi.json"])
async def test_another_spelling_of_a_path_gets_404(name: str) -> None:
    for target in paths(name):
        for app, prefix, headers in (
            (APP, "", []),
            (APP, "/api", PREFIX),
            (BELOW_PREFIX, "", []),
            (BELOW_PREFIX, "/api", []),
        ):
            for method in ("GET", "POST"):
                client = AsgiClient(b'{"text": "good"}')
                request = scope(prefix + target, method, client=("127.0.0.1", 1))
                request["headers"] += headers
                await app(request, client.receive, client.send)
                assert client.status == 404, (prefix + target, method)
                assert client.json["detail"] == "this path does not exist"


async def test_another_spelling_is_neither_logged_nor_counted_by_name(events: Events) -> None:
    bench = Bench()
    for target in paths("predict"):
        client = AsgiClient()
        await bench.middleware(scope(target, "POST"), client.receive, client.send)
        assert client.body != b"endpoint"
    assert {path for _, path, _ in bench.recorder.answers} == {"none"}
    assert {line["path"] for line in events("request")} == {"(none)"}


@pytest.mark.parametrize(
    "path", ["/predict\n", "/predict\x00", "/metrics\n", "/./predict", "//predict", "/pr\u0435dict"]
)
async def test_a_server_that_gives_no_raw_path_makes_no_difference(path: str) -> None:
    for method in ("GET", "POST"):
        client = AsgiClient(b"{}")
        await APP(scope_of(path, method, raw_path=None), client.receive, client.send)
        assert client.status == 404


async def test_with_keys_another_spelling_needs_one_like_any_unknown_path(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text("")
    keys = Keys(tmp_path / "keys.yaml")
    bench = Bench(checks=[authentication(Credentials(keys), protect_information=False)])
    for target in [*paths("predict"), *paths("livez")]:
        client = AsgiClient()
        await bench.middleware(scope(target, "POST"), client.receive, client.send)
        assert client.status == 401
