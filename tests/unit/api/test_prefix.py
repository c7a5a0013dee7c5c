"""A proxy serves the API below a path prefix, which it removes or passes on, and states or does not state."""

from typing import Any

import pytest

from app.api.context import PEER
from app.api.prefix import ProxyPrefix
from app.config import load_settings
from app.main import Application, create_app
from tests.support.client import JSON, AsgiClient, scope_of
from tests.support.middleware import Bench, Events

PROXY = ("127.0.0.1", 1234)
HOSTILE = [
    "//evil.example", "https://evil.example", "javascript:alert(1)", '/"><script>evil()</script>', "/'+evil()+'",
    "/\\evil.example", "/../evil", "/a//evil", "/a, //evil.example", "/a\tevil", "/%2f%2fevil.example", "/évil",
]  # fmt: skip


def application(**settings: Any) -> Application:
    return create_app(load_settings({"backend": "mock"} | settings))


# Without the page, `/` leads to the documentation.
PLAIN = application(page="off")
CONFIGURED = application(page="off", root_path="sentiment/")


async def get(app: Application, path: str, prefix: str | None = None, **fields: Any) -> AsgiClient:
    client = AsgiClient()
    headers = {"host": "test"} | ({"x-forwarded-prefix": prefix} if prefix is not None else {})
    scope = scope_of(path, "GET", headers, **{"client": PROXY} | fields)
    scope["headers"] = [(name, value.decode().encode("latin-1")) for name, value in scope["headers"]]
    await app(scope, client.receive, client.send)
    return client


async def root_path(app: Application, prefix: str | None = None, **fields: Any) -> str:
    """The prefix that the OpenAPI document shows; "." for none."""
    ((server,),) = [(await get(app, "/openapi.json", prefix, **fields)).json["servers"]]
    return str(server["url"])


@pytest.mark.parametrize("below", ["", "/sentiment"])
@pytest.mark.parametrize(("app", "prefix"), [(CONFIGURED, None), (PLAIN, "/sentiment")], ids=["setting", "header"])
async def test_routes_work_whether_or_not_the_proxy_removes_the_prefix(
    app: Application, prefix: str | None, below: str
) -> None:
    for path in ("/docs", "/livez", "/info", "/metrics", "/static-offline-docs/swagger-ui.css"):
        assert (await get(app, below + path, prefix)).status in (200, 503), path
    for path in ("/nothing", "/sentiment/docs", "/static-offline-docs/none"):
        assert (await get(app, below + path, prefix)).status == (200 if below + path == "/sentiment/docs" else 404)
    assert (await get(app, f"{below}/openapi.json", prefix)).json["servers"] == [{"url": "/sentiment"}]
    redirect = await get(app, f"{below}/", prefix)
    assert (redirect.status, redirect.headers["location"]) == (307, "/sentiment/docs")


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/sentiment/predict", "/sentiment/predict/batch"])
async def test_predictions_work_below_a_prefix(path: str) -> None:
    client = AsgiClient(b"{}")
    await CONFIGURED(scope_of(path), client.receive, client.send)
    assert client.status in (422, 503)  # not 404 or 405


async def test_the_prefix_alone_leads_to_the_documentation() -> None:
    assert (await get(CONFIGURED, "/sentiment")).headers["location"] == "/sentiment/docs"
    for path in ("/sentimental", "/sentimental/docs", "/sent", "/sentiment/sentiment"):
        assert (await get(CONFIGURED, path)).status == 404, path


@pytest.mark.parametrize("path", ["/sentiment", "/sentiment/", "/"])
async def test_links_of_the_page_are_relative_to_the_prefix(path: str) -> None:
    for app, prefix in ((application(root_path="/sentiment"), None), (application(), "/sentiment")):
        page = (await get(app, path, prefix)).body.decode()
        assert '<base href="/sentiment/">' in page
        assert 'src="page/page.js"' in page
        assert (await get(app, "/sentiment/page/page.js", prefix)).status == 200


async def test_without_a_prefix_links_are_relative() -> None:
    assert (await get(PLAIN, "/")).headers["location"] == "docs"
    assert await root_path(PLAIN) == "."
    page = (await get(PLAIN, "/docs")).body.decode()
    assert "url: 'openapi.json'" in page
    assert 'src="static-offline-docs/swagger-ui-bundle.js"' in page
    assert 'href="/' not in page


@pytest.mark.parametrize("path", ["/predict/batch", "/docs", "/info"])
async def test_a_prefix_may_have_the_name_of_a_route(path: str) -> None:
    for prefix in ("/predict", "/docs", "/static-offline-docs", "/info"):
        app = application(root_path=prefix)
        for requested in (path, prefix + path):
            assert (await get(app, requested)).status in (200, 405, 503), (prefix, requested)
    assert (await get(application(root_path="/docs", page="off"), "/docs/")).headers["location"] == "/docs/docs"


async def test_a_trusted_proxy_overrides_the_setting() -> None:
    assert await root_path(CONFIGURED, "/other") == "/other"
    assert await root_path(CONFIGURED, "/") == "/sentiment"
    assert await root_path(CONFIGURED, "") == "/sentiment"


async def test_the_prefixes_of_several_proxies_are_joined() -> None:
    assert await root_path(PLAIN, "/a, /b/c/") == "/a/b/c"
    client = AsgiClient()
    scope = scope_of("/openapi.json", "GET", client=PROXY)
    scope["headers"] += [(b"x-forwarded-prefix", b"/a"), (b"x-forwarded-prefix", b"/b")]
    await PLAIN(scope, client.receive, client.send)
    assert client.json["servers"] == [{"url": "/a/b"}]


@pytest.mark.parametrize(
    ("proxies", "peer", "trusted"),
    [
        (["127.0.0.1"], "127.0.0.1", True),
        (["127.0.0.1"], "::ffff:127.0.0.1", True),
        (["10.0.0.0/8"], "10.1.2.3", True),
        (["fd00::/8"], "fd00::1", True),
        (["10.0.0.0/8"], "127.0.0.1", False),
        (["10.0.0.0/8"], "192.0.2.1", False),
        (["10.0.0.0/8"], "::1", False),
        (["0.0.0.0/0"], "not an address", False),
        (["0.0.0.0/0"], None, False),
        ([], "127.0.0.1", False),
    ],
)
async def test_only_trusted_proxies_may_state_a_prefix(proxies: list[str], peer: str | None, trusted: bool) -> None:
    app = application(trusted_proxies=proxies)
    assert await root_path(app, "/a", client=(peer, 1) if peer else None) == ("/a" if trusted else ".")


async def test_the_peer_counts_and_not_the_client_that_it_names() -> None:
    assert await root_path(PLAIN, "/a", client=("192.0.2.1", 1), state={PEER: "127.0.0.1"}) == "/a"
    assert await root_path(PLAIN, "/a", client=("127.0.0.1", 1), state={PEER: "192.0.2.1"}) == "."
    assert await root_path(PLAIN, "/a", client=("127.0.0.1", 1), state={PEER: None}) == "."


@pytest.mark.parametrize("prefix", HOSTILE)
@pytest.mark.parametrize("app", [PLAIN, CONFIGURED], ids=["plain", "configured"])
async def test_a_hostile_prefix_reaches_no_page_and_no_redirect(app: Application, prefix: str) -> None:
    for path in ("/", "/docs", "/openapi.json", "/nothing"):
        client, usual = await get(app, path, prefix), await get(app, path)
        assert client.headers.get("location") == usual.headers.get("location")
        assert "evil" not in str(client.headers)
        assert b"evil" not in client.body
        if path != "/nothing":  # its body has the request's id
            assert client.body == usual.body


async def test_a_root_path_of_the_server_stays() -> None:
    assert await root_path(PLAIN, "/a", root_path="/mounted") == "/mounted"
    assert (await get(CONFIGURED, "/mounted/docs", root_path="/mounted")).status == 200


@pytest.mark.parametrize("path", ["/api/predict", "/predict"])
async def test_logs_and_metrics_name_the_route_without_the_prefix(path: str, events: Events) -> None:
    bench = Bench(prefix=ProxyPrefix("/api", []))
    client = await bench.request(path, headers=JSON)
    assert client.body == b"endpoint"
    assert bench.recorder.answers == [("POST", "/predict", 200)]
    assert events("request")[0]["path"] == "/predict"
    await bench.request("/api/secret/predict")
    assert bench.recorder.answers[1:] == [("POST", "none", 200)]
    assert events("request")[1]["path"] == "(none)"
