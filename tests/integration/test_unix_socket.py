"""A socket in the file system instead of a port, for a proxy on the same machine."""

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.config import SettingsError, load_settings
from app.sockets import authority, is_loopback, listen
from tests.support.process import Server, serve


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run") / "api.sock"


@pytest.fixture(scope="module")
def server(path: Path) -> Iterator[Server]:
    with serve(backend="mock", host=f"unix:{path}") as running:
        yield running


@pytest.fixture
def http(server: Server, path: Path) -> Iterator[httpx.Client]:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://service") as client:
        yield client


def test_requests_are_answered(server: Server, http: httpx.Client, path: Path) -> None:
    assert server.address == f"unix:{path}"
    assert http.post("/predict", json={"text": "good"}).json()["label"] == "positive"
    assert http.get("/readyz").status_code == 200
    assert not server.events("no API keys")


def test_only_owner_and_group_may_connect(server: Server, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_its_client_is_a_proxy_on_this_machine(server: Server, http: httpx.Client) -> None:
    direct = http.post("/predict", json={"text": "good"})
    assert server.wait_for("request", request_id=direct.headers["x-request-id"])["client"] == "127.0.0.1"
    headers = {"x-forwarded-for": "203.0.113.9", "x-forwarded-prefix": "/sentiment"}
    forwarded = http.post("/predict", json={"text": "good"}, headers=headers)
    assert server.wait_for("request", request_id=forwarded.headers["x-request-id"])["client"] == "203.0.113.9"
    assert http.get("/openapi.json", headers=headers).json()["servers"] == [{"url": "/sentiment"}]


def test_a_socket_in_use_is_not_taken_away(server: Server, http: httpx.Client, path: Path) -> None:
    with pytest.raises(OSError, match="Address already in use"):
        listen(f"unix:{path}", 0)
    assert http.get("/livez").status_code == 200


def test_one_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    with listen(f"unix:{path}", 0) as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        listener.accept()[0].close()


def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("keep")
    with pytest.raises(OSError, match="Address already in use"):
        listen(f"unix:{path}", 0)
    assert path.read_text() == "keep"


def test_several_workers_need_a_port() -> None:
    with pytest.raises(SettingsError, match="HOST=unix:… needs WORKERS=1"):
        load_settings({"host": "unix:/run/api.sock", "workers": 2})


def test_it_is_named_as_it_was_written() -> None:
    assert authority("unix:/run/api.sock", 8000) == "unix:/run/api.sock"
    assert is_loopback("unix:/run/api.sock")
