"""What a key is good for, and what the log says about keys that are refused."""

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from starlette.routing import Route

from app.access import Credentials, Key
from app.api import auth
from app.api.auth import authentication, is_public
from app.api.context import begin
from app.api.refusals import _LINES, _WINDOW_S, Refusals
from app.config import Settings
from app.main import create_app
from tests.support.client import scope_of
from tests.support.middleware import Events

YEAR = timedelta(days=365)
KEYS = {
    "plain": Key("plain", b""),
    "jobs": Key("jobs", b"", scopes=frozenset({"jobs"})),
    "admin": Key("admin", b"", scopes=frozenset({"admin"})),
    "both": Key("both", b"", scopes=frozenset({"jobs", "predict"})),
    "old": Key("old", b"", expires=datetime.now(UTC) - YEAR),
    "new": Key("new", b"", expires=datetime.now(UTC) + YEAR),
}


class FewKeys:
    def find(self, key: str) -> Key | None:
        return KEYS.get(key)


def answer(key: str, path: str = "/predict", refusals: Refusals | None = None) -> tuple[int, str, str | None] | None:
    """Return status and detail of a refusal, and the name that the access log has."""
    check = authentication(Credentials(FewKeys()), protect_information=True, refusals=refusals)  # type: ignore[arg-type]
    scope = scope_of(path, headers={"host": "a", "x-api-key": key})
    response = check(scope, begin(scope))
    if response is None:
        return None
    return response.status_code, json.loads(bytes(response.body))["detail"], scope["state"]["context"].key_name


@pytest.mark.parametrize(
    ("key", "detail"),
    [
        ("plain", None),
        ("both", None),
        ("new", None),
        ("jobs", "this API key does not have the scope predict"),
        ("admin", "this API key does not have the scope predict"),
        ("old", "this API key has expired"),
        ("other", "this API key is not valid"),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/"])
def test_a_key_must_be_valid_for_the_path(key: str, detail: str | None, path: str) -> None:
    assert answer(key, path) == (detail and (403, detail, None))


@pytest.mark.parametrize("path", ["/info", "/metrics", "/openapi.json", "/docs", "/missing"])
def test_any_key_that_has_not_expired_gives_information(path: str) -> None:
    assert [answer(key, path) for key in KEYS if key != "old"] == [None] * 5
    assert answer("old", path) == (403, "this API key has expired", None)


def test_every_route_is_public_or_information_or_has_a_scope() -> None:
    """A new route must be listed here, because otherwise any key would do."""
    app = create_app(Settings(backend="mock"))
    paths = {route.path for route in app.fastapi.router.routes if isinstance(route, Route)} | app.asgi._routes._plain  # type: ignore[attr-defined]
    assert {"/predict", "/info", "/livez", "/v2/models/{name}/infer", "/jobs/{id}"} <= paths
    any_key = {"/models", "/models/{name}", "/v2/repository/index"}  # that will do
    assert {path for path in paths if not is_public("GET", path) and not auth._scope_of(path)} == any_key


def test_reading_the_page_needs_no_key_but_predicting_there_does() -> None:
    assert is_public("GET", "/")
    assert is_public("HEAD", "/")
    assert not is_public("POST", "/")
    assert not is_public("GET", "/", protect_information=True)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_of_a_flood_of_wrong_keys_the_log_has_the_first_and_a_count(events: Events) -> None:
    clock = Clock()
    refusals = Refusals(clock)
    for number in count():
        clock.now_s = number * _WINDOW_S / 1000
        if number == 1000:
            break
        refusals.report()
        answer("other", refusals=refusals)
    lines = events("key refused")
    assert len(lines) == _LINES
    assert lines[0]["reason"] == "this API key is not valid"
    refusals.report()
    assert events("key refused")[_LINES:] == [{"left_out": 1000 - _LINES, "seconds": _WINDOW_S}]
    refusals.report()
    answer("other", refusals=refusals)
    assert len(events("key refused")) == _LINES + 2


def test_the_log_says_whose_key_was_refused_and_why(events: Events) -> None:
    for key in ("old", "jobs", "other"):
        answer(key)

    def said(line: dict[str, Any]) -> tuple[str | None, str]:
        return line.get("key"), line["reason"]

    assert [said(line) for line in events("key refused")] == [
        ("old", "this API key has expired"),
        ("jobs", "this API key does not have the scope predict"),
        (None, "this API key is not valid"),
    ]
