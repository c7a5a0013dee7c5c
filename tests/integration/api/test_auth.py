"""API keys, over a real socket."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.access import add_key
from app.cli import main
from tests.support.process import Server, serve
from tests.support.waiting import HANG_S

TEXT = {"text": "good"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.yaml"


@pytest.fixture(scope="module")
def key(file: Path) -> str:
    return add_key(file, "web")


@pytest.fixture(scope="module")
def closed(file: Path, key: str) -> Iterator[Server]:
    with serve(backend="mock", api_keys_file=str(file), api_keys_for_all="true", log_level="debug") as running:
        yield running


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_a_key_is_accepted_in_either_header(closed: Server, key: str, scheme: str) -> None:
    with closed.client() as http:
        for headers in ({"Authorization": f"{scheme} {key}"}, {"X-API-Key": key}):
            assert http.post("/predict", json=TEXT, headers=headers).json()["label"] == "positive"


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/info", "/metrics", "/docs", "/", "/nowhere"])
def test_a_request_without_a_key_gets_401(closed: Server, path: str) -> None:
    with closed.client() as http:
        response = http.request("POST" if "predict" in path else "GET", path)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("headers", [{"X-API-Key": "rts_wrong"}, {"Authorization": "Bearer"}, {"X-API-Key": "web"}])
def test_a_wrong_key_gets_403_and_a_log_line(closed: Server, headers: dict[str, str]) -> None:
    with closed.client() as http:
        response = http.post("/predict", json=TEXT, headers=headers)
    assert response.status_code == 403
    assert closed.wait_for("key refused", request_id=response.json()["request_id"])["client"] == "127.0.0.1"


def test_a_key_with_another_scheme_gets_401(closed: Server, key: str) -> None:
    with closed.client() as http:
        assert http.post("/predict", json=TEXT, headers={"Authorization": f"Basic {key}"}).status_code == 401


def test_a_large_body_without_a_key_gets_401_not_413(closed: Server) -> None:
    with closed.client() as http:
        assert http.post("/predict", content=b"{" * 50_000_000).status_code == 401


def test_probes_need_no_key(closed: Server) -> None:
    with closed.client() as http:
        assert [http.get(path).status_code for path in ("/livez", "/readyz", "/healthz")] == [200] * 3


def test_the_log_has_the_name_of_a_key_but_never_the_key(closed: Server, key: str) -> None:
    with closed.client() as http:
        response = http.post("/predict", json=TEXT, headers={"X-API-Key": key})
        http.post("/predict", json=TEXT, headers={"X-API-Key": key[:-1]})
        metrics = http.get("/metrics", headers={"X-API-Key": key}).text
    assert closed.wait_for("request", request_id=response.headers["x-request-id"])["key"] == "web"
    assert closed.wait_for("keys loaded")["names"] == ["web"]
    assert key[:-1] not in closed.log.read_text() + metrics


def test_a_browser_may_send_a_key_if_cors_is_on(file: Path, key: str) -> None:
    with serve(backend="mock", api_keys_file=str(file), cors_origins="https://a.example") as server:
        preflight = {"origin": "https://a.example", "access-control-request-method": "POST"}
        requested = {"access-control-request-headers": "authorization,content-type,x-api-key"}
        assert (
            httpx.options(f"{server.address}/predict", headers=preflight | requested, timeout=HANG_S).status_code == 200
        )
        refused = server.post(TEXT, headers={"origin": "https://a.example"})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://a.example"


def test_information_needs_no_key_by_default(file: Path, key: str) -> None:
    with serve(backend="mock", api_keys_file=str(file)) as server, server.client() as http:
        assert [http.get(path).status_code for path in ("/info", "/metrics", "/docs", "/openapi.json")] == [200] * 4
        assert http.get("/static-offline-docs/swagger-ui.css").status_code == 200
        assert http.post("/predict", json=TEXT).status_code == 401


def test_the_keys_file_is_reloaded_without_a_restart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "keys.yaml"
    first = add_key(file, "first")
    with serve(backend="mock", api_keys_file=str(file)) as server, server.client() as http:

        def status(key: str) -> int:
            return http.post("/predict", json=TEXT, headers={"X-API-Key": key}).status_code

        assert status(first) == 200
        with pytest.raises(SystemExit) as ended:
            main(["key", str(file), "second"])
        assert ended.value.code == 0
        second = capsys.readouterr().out.strip()
        server.wait_for("keys loaded", names=["first", "second"])
        assert [status(first), status(second)] == [200, 200]
        lines = file.read_text().splitlines()
        file.write_text(lines[1] + "\n")
        server.wait_for("keys loaded", names=["second"])
        assert [status(first), status(second)] == [403, 200]
        for content, reason in (
            ("broken", "expected a line `name: sha256:…` for each key"),
            ("web: 2024-02-30", "not YAML"),
        ):
            file.write_text(content)
            server.wait_for("keys not loaded, old keys stay valid", reason=f"{file}: {reason}")
            assert status(second) == 200
        file.write_text(f"{lines[1]}\n{lines[0]}\n")
        server.wait_for("keys loaded", names=["second", "first"])
        assert [status(first), status(second)] == [200, 200]


def test_an_unreadable_keys_file_prevents_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--port", "0", "--backend", "mock", "--api-keys-file", str(tmp_path / "none.yaml")])
    assert ended.value.code == 1
    assert "none.yaml: No such file" in capsys.readouterr().err


def test_a_public_address_without_keys_causes_a_warning(file: Path, key: str) -> None:
    with serve("--host", "0.0.0.0", backend="mock") as server:
        assert "0.0.0.0" in server.wait_for("no API keys")["reason"]
    with serve("--host", "localhost", backend="mock") as server:
        assert not server.events("no API keys")
    with serve("--host", "0.0.0.0", backend="mock", api_keys_file=str(file)) as server:
        assert not server.events("no API keys")
