"""Which address counts as the client's behind proxies: the first from the right that is not of a trusted proxy."""

from collections.abc import Iterator

import pytest

from tests.support.process import Server, serve


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(backend="mock", trusted_proxies="127.0.0.1,10.0.0.0/8,2001:db8:1::/48") as running:
        yield running


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        (["203.0.113.5"], "203.0.113.5"),
        (["8.8.8.8, 203.0.113.5"], "203.0.113.5"),
        (["8.8.8.8, 203.0.113.5, 10.0.0.7"], "203.0.113.5"),
        (["8.8.8.8, 203.0.113.5", "10.0.0.7, 10.0.0.8"], "203.0.113.5"),
        (["203.0.113.5", "10.0.0.7"], "203.0.113.5"),
        (["10.0.0.7", "203.0.113.5"], "203.0.113.5"),
        (["10.9.9.9, 203.0.113.5"], "203.0.113.5"),
        (["203.0.113.5:4711"], "203.0.113.5"),
        (["[2001:db8::1]:443"], "2001:db8::1"),
        (["8.8.8.8, 2001:db8::1, 2001:db8:1::5"], "2001:db8::1"),
        (["8.8.8.8, 203.0.113.5, ::ffff:10.0.0.7"], "203.0.113.5"),
        (["8.8.8.8, unknown"], None),
        (["8.8.8.8, _hidden, 10.0.0.7"], None),
        (["8.8.8.8, for=203.0.113.5"], None),
        (["8.8.8.8, 203.0.113.5;a"], None),
        (["8.8.8.8, 999.1.1.1"], None),
        (["8.8.8.8, 0x7f.1"], None),
        (["8.8.8.8,"], "127.0.0.1"),
        ([""], "127.0.0.1"),
        (["10.0.0.9, 10.0.0.7"], "10.0.0.9"),
    ],
)
def test_the_first_address_from_the_right_that_is_not_trusted_counts(
    server: Server, headers: list[str], client: str | None
) -> None:
    with server.client() as http:
        response = http.get("/info", headers=[("x-forwarded-for", value) for value in headers])
    assert server.wait_for("request", request_id=response.headers["x-request-id"])["client"] == client
