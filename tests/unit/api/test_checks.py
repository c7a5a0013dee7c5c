"""Requests that their headers alone disqualify."""

import json
from typing import Any

import pytest

from app.access import Credentials, Key
from app.api.auth import authentication, caller_of
from app.api.checks import Check, allowed_hosts, header_limit, one_host
from app.api.context import begin
from tests.support.client import scope_of


def refusal(check: Check, scope: dict[str, Any]) -> tuple[int, str] | None:
    """Return the status and the detail of a refusal."""
    response = check(scope, begin(scope))
    if response is None:
        return None
    body = json.loads(bytes(response.body))
    assert body["status"] == response.status_code
    assert body["request_id"] == scope["state"]["context"].request_id
    return response.status_code, body["detail"]


def hosts(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", value.encode()) for value in values]


def test_headers_may_be_as_large_as_the_limit_together() -> None:
    scope = scope_of(headers={"a": "12345", "bc": "67"})
    assert refusal(header_limit(10 + len("/predict")), scope) is None
    assert refusal(header_limit(9), scope) == (431, "the headers are larger than 9 bytes in total")


@pytest.mark.parametrize("values", [[], ["a", "b"], ["a", "a"]])
def test_a_request_needs_exactly_one_host(values: list[str]) -> None:
    scope = scope_of() | {"headers": hosts(*values)}
    assert refusal(one_host, scope) == (400, "the request needs exactly one Host header")
    assert refusal(one_host, scope_of() | {"headers": hosts("a")}) is None


def test_only_http_1_0_may_leave_out_the_host() -> None:
    assert refusal(one_host, scope_of(headers={}, http_version="1.0")) is None
    assert refusal(one_host, scope_of(headers={}, http_version="2"))
    assert refusal(one_host, scope_of(http_version="1.0") | {"headers": hosts("a", "b")})


@pytest.mark.parametrize(
    ("allowed", "host"),
    [
        ("Api.example", "api.example"),
        ("Api.example", "API.EXAMPLE"),
        ("Api.example", "api.example:8000"),
        ("api.example", "api.example."),
        ("[::1]", "[::1]"),
        ("[::1]", "[::1]:80"),
        ("::1", "[::1]:8000"),
        ("[2001:db8:0::1]", "[2001:DB8::1]:8000"),
        ("127.0.0.1", "127.0.0.1:8000"),
        ("other:81", "Other:81"),
        ("[::1]:81", "[::1]:81"),
        ("other:443", "other"),
        ("other:80", "other"),
    ],
)
def test_allowed_hosts_match_in_any_spelling_and_with_any_port(allowed: str, host: str) -> None:
    assert refusal(allowed_hosts(["first.example", allowed]), scope_of(headers={"host": host})) is None


@pytest.mark.parametrize(
    "host",
    ["", "example", "api.example.evil", "api.example:x", "api.example:", "other:82", "other", "[::1]:82", "[::1]",
     "[::2]", "api.example:80:80", "user@api.example", "api.example/", "127.0.0.1"],
)  # fmt: skip
def test_other_hosts_are_refused(host: str) -> None:
    scope = scope_of(headers={"host": host})
    check = allowed_hosts(["api.example", "other:81", "[::1]:81"])
    assert refusal(check, scope) == (400, "this Host is not allowed")


@pytest.mark.parametrize(
    ("path", "root_path"), [("/livez", ""), ("/readyz", ""), ("/healthz", ""), ("/api/livez", "/api")]
)
def test_probes_may_use_any_host_and_need_no_key(path: str, root_path: str) -> None:
    scope = scope_of(path, "GET", {"host": "192.0.2.9"}, root_path=root_path)
    assert refusal(allowed_hosts(["api.example"]), scope) is None
    assert refusal(KEY_FOR_ALL, scope) is None


class OneKey:
    def find(self, key: str) -> Key | None:
        return Key("someone", b"") if key == "right" else None


KEY_FOR_ALL = authentication(Credentials(OneKey()), protect_information=True)  # type: ignore[arg-type]
KEY_FOR_PREDICTIONS = authentication(Credentials(OneKey()), protect_information=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Basic right"}, 401),
        ({"authorization": "Bearer"}, 403),
        ({"authorization": "Bearer wrong"}, 403),
        ({"x-api-key": ""}, 403),
        ({"authorization": "Bearer wrong", "x-api-key": "right"}, 403),
        ({"authorization": "bearer  right "}, None),
        ({"authorization": "Basic other", "x-api-key": "right"}, None),
        ({"x-api-key": " right"}, None),
        ({"x-api-key": "\tright \t"}, None),
        *[
            (headers, 403)
            for space in "\xa0\x85\x0b\x0c\x1c\x1f"
            for headers in ({"x-api-key": f"right{space}"}, {"authorization": f"Bearer {space}right"})
        ],
        ({"x-api-key": "right\xe2\x80\x83"}, 403),  # U+2003
    ],
)
def test_a_key_is_required_in_one_of_two_headers(headers: dict[str, str], status: int | None) -> None:
    scope = scope_of(headers={"host": "a"} | headers)
    refused = refusal(KEY_FOR_PREDICTIONS, scope)
    assert (refused and refused[0]) == status
    assert scope["state"]["context"].key_name == (None if status else "someone")


@pytest.mark.parametrize(
    ("path", "protected"),
    [
        ("/info", False),
        ("/metrics", False),
        ("/docs", False),
        ("/static-offline-docs/swagger.js", False),
        ("/predict", True),
        ("/missing", True),
        ("/static-offline-docs-other", True),
        ("/infos", True),
    ],
)
def test_information_needs_a_key_only_if_it_is_protected(path: str, protected: bool) -> None:
    assert bool(refusal(KEY_FOR_PREDICTIONS, scope_of(path, "GET"))) == protected
    assert refusal(KEY_FOR_ALL, scope_of(path, "GET"))


@pytest.mark.parametrize(
    ("client", "caller"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("not an address", ""),
        (None, ""),
    ],
)
def test_callers_without_a_key_are_told_apart_by_their_network(client: str | None, caller: str) -> None:
    context = begin(scope_of(client=(client, 1) if client else None))
    assert caller_of(context) == caller
    context.key_name = "someone"
    assert caller_of(context) == "key someone"
