"""The circuit breaker in a real server."""

from tests.support.gate import Gate
from tests.support.process import Server, serve


def status(server: Server, text: str) -> int:
    with server.client() as http:
        return http.post("/predict", json={"text": text}).status_code


def test_a_broken_device_makes_a_server_unready_until_it_recovers(gate: Gate) -> None:
    with serve(backend="mock", cache_entries="0", prelude=gate.broken_device) as server, server.client() as http:
        assert status(server, "good") == 200
        assert status(server, "good [break]") == 500
        statuses = [status(server, f"good {number}") for number in range(8)]
        assert statuses == [500] * 4 + [503] * 4
        refused = http.post("/predict", json={"text": "good"})
        assert refused.json()["detail"] == "the model is failing"
        assert int(refused.headers["retry-after"]) >= 1
        assert http.get("/readyz").status_code == 503
        assert http.get("/livez").status_code == 200
        assert http.get("/healthz").json()["status"] == "degraded"
        assert len(server.events("model failing")) == 1
        gate.open()
        server.wait_for("model recovered")
        assert status(server, "good") == 200
        assert http.get("/healthz").json()["status"] == "ok"


def test_bad_texts_of_one_client_do_not_affect_others() -> None:
    with serve(backend="mock", cache_entries="0") as server:
        assert [status(server, f"[fail] {number}") for number in range(20)] == [500] * 20
        assert status(server, "good") == 200
