"""A real nginx serves the API below a path prefix, and a real browser opens its documentation there."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from nginx.process import free_port
from nginx.proxy import find
from tests.support.process import ROOT, Server, serve
from tests.support.waiting import until

PREFIX = "/sentiment"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
(DOCUMENTED,) = re.findall(
    r"^```nginx\n(location .*?)^```$", (ROOT / "docs/deployment.md").read_text(), re.MULTILINE | re.DOTALL
)
STATED = f"proxy_set_header X-Forwarded-Prefix {PREFIX};"
# Locations of nginx, and whether the service behind has SENTIMENT_ROOT_PATH.
PROXIES = {
    "documented": (DOCUMENTED, False),
    "removed": (f"location {PREFIX}/ {{ proxy_pass http://127.0.0.1:8000/; }}", False),
    "stated": (f"location {PREFIX}/ {{ proxy_pass http://127.0.0.1:8000; {STATED} }}", False),
    "configured": (f"location {PREFIX}/ {{ proxy_pass http://127.0.0.1:8000; }}", True),
    "configured-removed": (f"location {PREFIX}/ {{ proxy_pass http://127.0.0.1:8000/; }}", True),
}
NGINX = """\
daemon off;
pid nginx.pid;
error_log stderr emerg;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path unused;
    uwsgi_temp_path unused;
    scgi_temp_path unused;
"""


@pytest.fixture(scope="module")
def services() -> Iterator[Mapping[bool, Server]]:
    with serve(backend="mock") as plain, serve(backend="mock", root_path=PREFIX) as configured:
        yield {False: plain, True: configured}


@pytest.fixture(scope="module")
def addresses(services: Mapping[bool, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The address of the API behind each proxy."""
    folder = tmp_path_factory.mktemp("nginx")
    ports = {name: free_port() for name in PROXIES}
    servers = [
        f"server {{ listen 127.0.0.1:{ports[name]};\n"
        + location.replace("127.0.0.1:8000", services[configured].address.removeprefix("http://"))
        + "\n}\n"
        for name, (location, configured) in PROXIES.items()
    ]
    (folder / "nginx.conf").write_text(NGINX + "".join(servers) + "}\n")
    folder.chmod(0o755)
    with subprocess.Popen([find(), "-p", str(folder), "-c", str(folder / "nginx.conf")]) as nginx:
        try:
            until(lambda: (folder / "nginx.pid").exists() or nginx.poll() is not None)
            assert nginx.poll() is None
            yield {name: f"http://127.0.0.1:{port}{PREFIX}" for name, port in ports.items()}
        finally:
            nginx.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("proxy", PROXIES)
def test_everything_works_below_a_prefix(proxy: str, addresses: dict[str, str]) -> None:
    with httpx.Client(base_url=addresses[proxy], follow_redirects=True) as http:
        page = http.get("/")
        assert (page.status_code, page.url.path) == (200, f"{PREFIX}/")
        without_slash = http.get(addresses[proxy])
        assert without_slash.text == page.text
        # With `<base>`, links do not depend on the last slash. Otherwise nginx adds it.
        assert "<base " in page.text or without_slash.url.path == f"{PREFIX}/"
        for shown in (page, http.get("/docs")):
            for link in re.findall(r"""(?:src=|href=|url: )["']([^"'#\s]+)["']""", shown.text):
                assert http.get(shown.url.join(link)).status_code == 200, link
        document = http.get("/openapi.json")
        (server,) = document.json()["servers"]
        assert document.url.join(server["url"]).path.rstrip("/") == PREFIX
        assert server["url"] == ("." if proxy == "removed" else PREFIX)
        for path in ("/livez", "/readyz", "/healthz", "/info", "/metrics"):
            assert http.get(path).status_code == 200, path
        assert http.post("/predict", json={"text": "good"}).json()["label"] == "positive"
        assert len(http.post("/predict/batch", json={"texts": ["good", "bad"]}).json()["predictions"]) == 2
        assert http.get("/nothing").status_code == 404


@pytest.mark.parametrize("proxy", PROXIES)
def test_logs_and_metrics_have_no_prefix(
    proxy: str, addresses: dict[str, str], services: Mapping[bool, Server]
) -> None:
    service, request_id = services[PROXIES[proxy][1]], f"prefix/{proxy}"
    headers = {"x-request-id": request_id}
    assert httpx.post(f"{addresses[proxy]}/predict", json={"text": "good"}, headers=headers).status_code == 200
    assert service.wait_for("request", request_id=request_id)["path"] == "/predict"
    series = httpx.get(f"{service.address}/metrics").text
    assert 'handler="/predict"' in series
    assert PREFIX not in series.replace("sentiment_", "")


def test_a_client_cannot_state_a_prefix_through_the_documented_proxy(addresses: dict[str, str]) -> None:
    headers = {"x-forwarded-prefix": "/other"}
    document = httpx.get(f"{addresses['documented']}/openapi.json", headers=headers).json()
    assert document["servers"] == [{"url": PREFIX}]


@pytest.mark.skipif(BROWSER is None, reason="neither Chromium nor Chrome is installed (apt-get install chromium)")
# The links of all are tested above; a browser is slow.
@pytest.mark.parametrize("proxy", ["documented", "removed"])
async def test_a_browser_shows_the_documentation_and_sends_a_request(
    proxy: str, addresses: dict[str, str], tmp_path: Path
) -> None:
    from playwright.async_api import async_playwright

    failed: list[str] = []
    async with async_playwright() as playwright:
        environment = os.environ | {"HOME": str(tmp_path)}
        flags = ["--disable-background-networking", "--disable-component-update", "--no-first-run", "--no-proxy-server"]
        browser = await playwright.chromium.launch(executable_path=BROWSER, args=flags, env=environment)
        page = await browser.new_page()
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.on("requestfailed", lambda request: failed.append(request.url))
        page.on("response", lambda response: failed.append(response.url) if response.status >= 400 else None)
        await page.goto(f"{addresses[proxy]}", wait_until="load")
        await page.get_by_label("Type or paste a text").fill("so good")
        await page.locator("#explanation").wait_for()
        await page.get_by_role("link", name="API documentation").click()
        await page.wait_for_url("**/docs")
        assert urlsplit(page.url).path == f"{PREFIX}/docs"
        operation = page.locator(".opblock-post", has=page.locator('[data-path="/predict"]'))
        await operation.locator(".opblock-summary").click()
        await operation.get_by_role("button", name="Try it out").click()
        await operation.locator("textarea.body-param__text").fill('{"text": "good"}')
        async with page.expect_response(lambda response: response.request.method == "POST") as sent:
            await operation.get_by_role("button", name="Execute").click()
        response = await sent.value
        assert (response.status, urlsplit(response.url).path) == (200, f"{PREFIX}/predict")
        assert (await response.json())["label"] == "positive"
        await operation.locator(".live-responses-table").wait_for()
        await browser.close()
    assert failed == []
