"""Addresses to listen on: one family, or both with `::`."""

import socket
from collections.abc import Callable

import pytest

from app.sockets import address_of, authority, bind_shared, listen

needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


def listen_shared(host: str, port: int) -> socket.socket:
    shared = bind_shared(host, port)
    shared.listen()
    return shared


def answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("open_socket", [listen, listen_shared])
@pytest.mark.parametrize(
    ("host", "ipv4", "ipv6"),
    [
        ("127.0.0.1", True, False),
        ("0.0.0.0", True, False),
        ("localhost", True, False),
        pytest.param("::1", False, True, marks=needs_ipv6),
        pytest.param("::", True, True, marks=needs_ipv6),
        pytest.param("0:0::0", True, True, marks=needs_ipv6),
    ],
)
def test_a_socket_answers_on_the_families_of_its_host(
    open_socket: Callable[[str, int], socket.socket], host: str, ipv4: bool, ipv6: bool
) -> None:
    with open_socket(host, 0) as listener:
        port = listener.getsockname()[1]
        assert (answers("127.0.0.1", port), answers("::1", port)) == (ipv4, ipv6)


@needs_ipv6
@pytest.mark.parametrize(("host", "start"), [("::", "http://[::]:"), ("::1", "http://[::1]:")])
def test_the_url_of_an_ipv6_address_has_brackets(host: str, start: str) -> None:
    with listen(host, 0) as listener:
        assert address_of(listener, tls=False) == f"{start}{listener.getsockname()[1]}"
        assert address_of(listener, tls=True).startswith(start.replace("http", "https"))


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1:80"),
        ("a.example", "a.example:80"),
        ("::", "[::]:80"),
        ("fe80::1%eth0", "[fe80::1%25eth0]:80"),
    ],
)
def test_a_host_and_its_port_are_shown_as_in_a_url(host: str, shown: str) -> None:
    assert authority(host, 80) == shown


@pytest.mark.parametrize("host", ["127.0.0.1:80", "::x", "no such host"])
def test_what_is_no_host_is_an_error_of_the_system(host: str) -> None:
    with pytest.raises(OSError, match=r"."):
        listen(host, 0)
