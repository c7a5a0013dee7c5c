"""Rate limits, over a real socket."""

from pathlib import Path

from app.access import add_key
from tests.support.process import serve


def test_headers_show_the_remaining_quota_and_excess_gets_429() -> None:
    with (
        serve(backend="mock", rate_limit="6/hour", cors_origins="https://a.example") as server,
        server.client() as http,
    ):
        first = http.post("/predict", json={"text": "good"})
        assert (first.headers["ratelimit-limit"], first.headers["ratelimit-remaining"]) == ("6", "5")
        assert 1 <= int(first.headers["ratelimit-reset"]) <= 3600
        listed = http.post("/predict/batch", json={"texts": ["a", "b", "c"]})
        assert listed.headers["ratelimit-remaining"] == "2"
        over = http.post("/predict/batch", json={"texts": ["a", "b", "c"]}, headers={"origin": "https://a.example"})
        assert over.status_code == 429
        assert over.json()["title"] == "Too Many Requests"
        assert over.headers["ratelimit-remaining"] == "1"
        assert int(over.headers["retry-after"]) == int(over.headers["ratelimit-reset"])
        assert "RateLimit-Reset" in over.headers["access-control-expose-headers"]
        assert http.post("/predict/batch", json={"texts": ["a"] * 7}).status_code == 413
        last = http.post("/predict", json={"text": "good"})
        assert (last.status_code, last.headers["ratelimit-remaining"]) == (429, "0")
        assert "ratelimit-limit" not in http.get("/livez").headers


def test_a_request_over_the_limit_is_refused_before_its_body() -> None:
    with serve(backend="mock", rate_limit="1/hour") as server, server.connect() as connection:
        assert server.post({"text": "good"}).status_code == 200
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n")
        connection.sendall(b"Content-Length: 1000\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 429 ")


def test_clients_are_counted_by_ipv4_address_or_ipv6_network() -> None:
    with serve(backend="mock", rate_limit="1/hour") as server, server.client() as http:

        def status(address: str) -> int:
            return http.post("/predict", json={"text": "good"}, headers={"x-forwarded-for": address}).status_code

        assert [status("203.0.113.5"), status("203.0.113.6"), status("203.0.113.5")] == [200, 200, 429]
        assert [status("2001:db8:1:2::3"), status("2001:db8:1:2:ffff::4"), status("2001:db8:1:3::3")] == [200, 429, 200]
        assert [status("::ffff:192.0.2.1"), status("::ffff:192.0.2.2"), status("192.0.2.1")] == [200, 200, 429]
        assert [status("nonsense"), status("nonsense")] == [200, 429]


def test_a_key_is_counted_regardless_of_the_address(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    keys = [add_key(file, name) for name in ("one", "two")]
    with serve(backend="mock", rate_limit="1/hour", api_keys_file=str(file)) as server, server.client() as http:

        def status(key: str, address: str) -> int:
            headers = {"x-forwarded-for": address, "x-api-key": key}
            return http.post("/predict", json={"text": "good"}, headers=headers).status_code

        assert [status(keys[0], "203.0.113.5"), status(keys[0], "203.0.113.6")] == [200, 429]
        assert status(keys[1], "203.0.113.5") == 200
