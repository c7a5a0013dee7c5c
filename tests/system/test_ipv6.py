"""A server on IPv6 addresses."""

import socket
from urllib.parse import urlsplit

import httpx
import pytest

from app.cli import main
from tests.support.process import serve

pytestmark = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("host", ["::", "[::]"])
def test_two_colons_listen_on_both_families(host: str, workers: str) -> None:
    with serve("--host", host, backend="mock", workers=workers) as server:
        port = urlsplit(server.address).port
        assert server.address == f"http://[::]:{port}"
        assert server.wait_for("ready")["address"] == server.address
        for address in (server.address, f"http://127.0.0.1:{port}", f"http://[::1]:{port}"):
            assert httpx.get(f"{address}/livez", timeout=30).status_code == 200


def test_an_ipv4_proxy_is_trusted_on_a_socket_for_both() -> None:
    with serve("--host", "::", backend="mock") as server:
        port = urlsplit(server.address).port
        for proxy, client in (("127.0.0.1", "192.0.2.7"), ("[::1]", "2001:db8::7")):
            httpx.get(
                f"http://{proxy}:{port}/info", headers={"x-forwarded-for": client, "x-request-id": client}, timeout=30
            )
            assert server.wait_for("request", request_id=client)["client"] == client
            httpx.get(f"http://{proxy}:{port}/info", headers={"x-request-id": proxy}, timeout=30)
            assert server.wait_for("request", request_id=proxy)["client"] == proxy.strip("[]")


def test_an_ipv6_address_in_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            main(["serve", "--backend", "mock", "--host", "::1", "--port", str(port)])
    assert ended.value.code == 1
    assert f"cannot listen on [::1]:{port}" in capsys.readouterr().err
