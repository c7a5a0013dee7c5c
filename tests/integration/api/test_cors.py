"""A preflight request that is refused: the log says why."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.process import Server, serve

PAGE = "https://a.example"
EVENT = "preflight refused"


@pytest.fixture(scope="module")
def cors_server() -> Iterator[Server]:
    with serve(backend="mock", cors_origins=f"{PAGE},http://localhost:3000") as server:
        yield server


def preflight(server: Server, request_id: str, **headers: Any) -> int:
    """Send a preflight request with `headers`, wait for its access line, and return its status. The rest is allowed."""
    sent = {"origin": PAGE, "access-control-request-method": "POST", "x-request-id": request_id}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    status = httpx.options(f"{server.address}/predict", headers=sent, timeout=30).status_code
    server.wait_for("request", request_id=request_id)
    return status


def why(server: Server, request_id: str) -> list[dict[str, Any]]:
    """What the log says about a refusal, without the fields that every event has."""
    usual = {"time", "level", "event", "request_id", "client"}
    return [
        {name: value for name, value in event.items() if name not in usual}
        for event in server.events(EVENT)
        if event["request_id"] == request_id
    ]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"origin": "https://c.example"}, {"origin": "https://c.example"}),
        ({"origin": "http://a.example"}, {"origin": "http://a.example"}),
        ({"origin": "https://a.example:8443"}, {"origin": "https://a.example:8443"}),
        ({"origin": "http://[::1]:3000"}, {"origin": "http://[::1]:3000"}),
        ({"origin": "null"}, {"origin": "null"}),
        ({"access_control_request_method": "DELETE"}, {"method": "DELETE"}),
        ({"access_control_request_method": "post"}, {"method": "post"}),
        ({"access_control_request_headers": "content-type,x-trace"}, {"headers": ["x-trace"]}),
        ({"access_control_request_headers": "X-Trace, X-Other, accept"}, {"headers": ["x-trace", "x-other"]}),
        (
            {
                "origin": "https://c.example",
                "access_control_request_method": "PUT",
                "access_control_request_headers": "b",
            },
            {"origin": "https://c.example", "method": "PUT", "headers": ["b"]},
        ),
        ({"access_control_request_private_network": "true"}, {"private_network": True}),
    ],
)
def test_the_log_says_what_is_not_allowed(
    cors_server: Server, headers: dict[str, str], reason: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    request_id = request.node.callspec.id.replace(" ", "")
    assert preflight(cors_server, request_id, **headers) == 400
    assert why(cors_server, request_id) == [reason]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://localhost:3000"},
        {"access_control_request_method": "GET"},
        {"access_control_request_headers": "accept, Content-Type,authorization,x-api-key"},
        {"access_control_request_headers": "X-Request-ID,x-request-timeout-ms"},
        {"access_control_request_headers": "accept-language,content-language"},
    ],
)
def test_an_allowed_preflight_is_not_logged(
    cors_server: Server, headers: dict[str, str], request: pytest.FixtureRequest
) -> None:
    assert preflight(cors_server, request.node.callspec.id, **headers) == 200
    assert why(cors_server, request.node.callspec.id) == []


def test_other_requests_are_not_logged_as_preflights(cors_server: Server) -> None:
    url = f"{cors_server.address}/predict"
    refused = [httpx.options(url, timeout=30), httpx.options(url, headers={"origin": "https://c.example"}, timeout=30)]
    refused.append(
        httpx.post(url, headers={"origin": "https://c.example", "access-control-request-method": "POST"}, timeout=30)
    )
    for response in refused:
        assert response.status_code in (405, 415)
        cors_server.wait_for("request", request_id=response.headers["x-request-id"])
        assert why(cors_server, response.headers["x-request-id"]) == []


def test_without_cors_the_log_names_the_origin(mock_server: Server) -> None:
    assert preflight(mock_server, "no-cors", access_control_request_headers="content-type") == 405
    assert why(mock_server, "no-cors") == [{"origin": PAGE}]


@pytest.mark.parametrize(
    ("header", "logged"),
    [
        ("origin", {"origin": "(invalid)"}),
        ("access_control_request_method", {"method": "(invalid)"}),
        ("access_control_request_headers", {"headers": ["(invalid)"]}),
    ],
)
@pytest.mark.parametrize("value", ["my secret words", '"secret"', "s\u00e9cret", "secret" * 100, "<secret>"])
def test_words_of_a_user_do_not_reach_the_log(
    cors_server: Server, header: str, logged: dict[str, Any], value: str
) -> None:
    request_id = f"{header}-{value.encode().hex()[:20]}"
    assert preflight(cors_server, request_id, **{header: value.encode()}) == 400
    assert why(cors_server, request_id) == [logged]
    assert "cret" not in cors_server.log.read_text()
