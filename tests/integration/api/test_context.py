"""Request ids, the access log, client addresses, unknown paths, CORS and hosts."""

import pytest

from tests.support.process import Server, serve


def test_a_valid_request_id_is_returned_and_logged(mock_server: Server) -> None:
    with mock_server.client() as http:
        response = http.post("/predict", json={"text": "good, not sent before"}, headers={"x-request-id": "order-66/"})
        assert response.headers["x-request-id"] == "order-66/"
    line = mock_server.wait_for("request", request_id="order-66/")
    assert line["method"] == "POST"
    assert line["path"] == "/predict"
    assert line["status"] == 200
    assert line["ms"] >= line["infer_ms"] > 0
    assert line["client"] == "127.0.0.1"


@pytest.mark.parametrize("given", [b"", b"has space", b"x" * 129, b"caf\xc3\xa9", b"a\tb"])
def test_an_invalid_request_id_is_replaced(mock_server: Server, given: bytes) -> None:
    with mock_server.client() as http:
        ids = {http.get("/livez", headers=[(b"x-request-id", given)]).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert given.decode("latin-1") not in ids


@pytest.mark.parametrize("path", ["/", "/livez", "/nothing", "/metrics", "/docs", "/predict"])
def test_every_response_has_a_request_id(mock_server: Server, path: str) -> None:
    with mock_server.client() as http:
        assert http.get(path).headers["x-request-id"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/predict", 405)])
def test_unknown_paths_and_methods_get_problem_json(mock_server: Server, method: str, path: str, status: int) -> None:
    with mock_server.client() as http:
        response = http.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
    if status == 405:
        assert response.headers["allow"] == "POST"


def test_a_trailing_slash_gets_404_and_no_redirect(mock_server: Server) -> None:
    with mock_server.client() as http:
        response = http.get("/livez/", headers={"host": "elsewhere.example"})
    assert response.status_code == 404
    assert "location" not in response.headers


def test_headers_over_the_limit_get_431_and_are_counted(mock_server: Server) -> None:
    at, over = ({"x-a": "a" * size, "x-request-id": "heavy"} for size in (30_000, 33_000))
    before = mock_server.metric('http_requests_total{handler="/livez",method="GET",status="431"}')
    with mock_server.client() as http:
        assert http.get("/livez", headers=at).status_code == 200
        response = http.get("/livez", headers=over)
    assert response.status_code == 431
    assert response.json()["request_id"] == response.headers["x-request-id"] == "heavy"
    assert mock_server.metric('http_requests_total{handler="/livez",method="GET",status="431"}') == before + 1


def test_only_trusted_proxies_may_state_the_client_address(mock_server: Server) -> None:
    forwarded = {"x-forwarded-for": "203.0.113.5, 198.51.100.7"}
    with mock_server.client() as http:
        http.post("/predict", json={"text": "good"}, headers=forwarded | {"x-request-id": "hop/1"})
    assert mock_server.wait_for("request", request_id="hop/1")["client"] == "198.51.100.7"
    with serve(backend="mock", trusted_proxies="127.0.0.0/8,198.51.100.0/24") as server, server.client() as http:
        http.post("/predict", json={"text": "good"}, headers=forwarded | {"x-request-id": "hop/2"})
        assert server.wait_for("request", request_id="hop/2")["client"] == "203.0.113.5"
    with serve(backend="mock", trusted_proxies="198.51.100.0/24") as server, server.client() as http:
        http.post("/predict", json={"text": "good"}, headers=forwarded | {"x-request-id": "hop/3"})
        assert server.wait_for("request", request_id="hop/3")["client"] == "127.0.0.1"


def test_only_trusted_proxies_may_state_a_path_prefix(mock_server: Server) -> None:
    # `client` is then the address that the proxy states. What counts is the other end of the connection.
    forwarded = {"x-forwarded-prefix": "/a", "x-forwarded-for": "203.0.113.5"}

    def prefix(server: Server) -> str:
        with server.client() as http:
            return str(http.get("/openapi.json", headers=forwarded).json()["servers"][0]["url"])

    assert prefix(mock_server) == "/a"
    with serve(backend="mock", trusted_proxies="203.0.113.0/24") as server:
        assert prefix(server) == "."


@pytest.mark.parametrize("address", ["a text of a user", "fe80::1%a text of a user", "::1%" + "x" * 5000])
def test_a_forwarded_value_that_is_not_an_address_is_ignored(mock_server: Server, address: str) -> None:
    with mock_server.client() as http:
        response = http.post("/predict", json={"text": "good"}, headers={"x-forwarded-for": address})
    assert response.status_code == 200
    assert mock_server.wait_for("request", request_id=response.headers["x-request-id"])["client"] is None


def test_no_text_of_a_user_is_in_the_log_or_the_metrics(mock_server: Server) -> None:
    secret = "xyzzy-plugh"
    with mock_server.client() as http:
        http.post("/predict", json={"text": secret})
        http.post("/predict/batch", json={"texts": [secret, secret + " [fail]"]})
        http.post("/predict", content=f'{{"text": "{secret}'.encode(), headers={"content-type": "application/json"})
        http.post("/predict", json={"text": "a", secret: 1})
        http.post("/predict", json={"text": [secret]})
        http.get(f"/predict/{secret}?text={secret}")
        http.request(secret.upper().replace("-", ""), "/predict")
        assert secret not in http.get("/metrics").text.lower()
    assert secret not in mock_server.log.read_text().lower()
    assert "xyzzyplugh" not in mock_server.log.read_text().lower()


def test_there_is_no_server_header_and_no_cors_by_default(mock_server: Server) -> None:
    with mock_server.client() as http:
        response = http.get("/livez", headers={"origin": "https://a.example"})
    assert "server" not in response.headers
    assert "access-control-allow-origin" not in response.headers


def test_only_the_configured_origins_may_call_with_cors() -> None:
    with serve(backend="mock", cors_origins="https://a.example,https://b.example") as server, server.client() as http:
        preflight = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
        allowed = http.options("/predict", headers=preflight | {"origin": "https://b.example"})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://b.example"
        assert http.options("/predict", headers=preflight | {"origin": "https://c.example"}).status_code == 400
        for body in ({"text": "good"}, {"text": "[fail]"}, {}):
            response = http.post("/predict", json=body, headers={"origin": "https://a.example"})
            assert response.headers["access-control-allow-origin"] == "https://a.example"
            exposed = response.headers["access-control-expose-headers"].split(", ")
            assert {"X-Request-ID", "X-Model"} <= {*exposed}
            assert response.headers["x-request-id"]


def test_every_response_has_the_security_headers(mock_server: Server) -> None:
    with mock_server.client() as http:
        responses = [http.get("/livez"), http.get("/nowhere"), http.get("/docs"), http.post("/predict", json={})]
        predicted = http.post("/predict", json={"text": "good"})
    for response in (*responses, predicted):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"] == "frame-ancestors 'none'"
        assert response.headers["referrer-policy"] == "no-referrer"
    assert predicted.headers["cache-control"] == "no-store"


def test_only_allowed_hosts_get_a_response() -> None:
    with serve(backend="mock", allowed_hosts="api.example,127.0.0.1") as server, server.client() as http:

        def status(host: str, path: str = "/info") -> int:
            return http.get(path, headers={"host": host}).status_code

        assert [status("api.example"), status("API.example:443"), status("127.0.0.1:8000")] == [200] * 3
        assert [status(host) for host in ("evil.example", "api.example.evil.example", "api.example:x", "")] == [400] * 4
        assert status("10.0.0.7:8000", "/healthz") == 200
        refused = http.post("/predict", json={"text": "good"}, headers={"host": "evil.example"})
        assert refused.json()["detail"] == "this Host is not allowed"


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/openapi.json", "/openapi.json"),
        ("/docs", "/docs"),
        ("/predict", "/predict"),
        ("/nowhere", "(none)"),
        ("/static-offline-docs/predict", "(none)"),
        ("/static-offline-docs/livez", "(none)"),
    ],
)
def test_the_access_line_has_the_route_and_no_other_path(mock_server: Server, path: str, logged: str) -> None:
    with mock_server.client() as http:
        request_id = http.get(path).headers["x-request-id"]
    assert mock_server.wait_for("request", request_id=request_id)["path"] == logged
