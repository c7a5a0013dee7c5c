"""Tokens of an identity provider, over a real socket."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.access import add_key
from tests.support.identity import AUDIENCE, ISSUER, Provider, key_set, provider, token
from tests.support.process import Server, serve
from tests.support.waiting import until

TEXT = {"text": "good"}


@pytest.fixture(scope="module")
def idp() -> Iterator[Provider]:
    with provider() as running:
        yield running


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.yaml"


@pytest.fixture(scope="module")
def key(key_file: Path) -> str:
    return add_key(key_file, "web")


@pytest.fixture(scope="module")
def server(idp: Provider, key_file: Path, key: str) -> Iterator[Server]:
    with serve(
        backend="mock",
        jwt_jwks=idp.address,
        jwt_issuer=ISSUER,
        jwt_audience=f"{AUDIENCE},another",
        api_keys_file=str(key_file),
        log_level="debug",
        rate_limit="1000/hour",
        prelude="import app.access.tokens\napp.access.tokens._SOONEST_S = 0.1",
    ) as running:
        running.wait_for("identity provider loaded", keys=["first"])
        yield running


def bearer(presented: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {presented}"}


def test_a_token_lets_its_subject_in(server: Server) -> None:
    response = server.post(TEXT, headers=bearer(token(sub="ben@example.com")))
    assert response.status_code == 200
    line = server.wait_for("request", request_id=response.headers["x-request-id"])
    assert line["key"] == "jwt:ben@example.com"
    assert server.post(TEXT, headers={"X-API-Key": token()}).status_code == 200


def test_keys_go_on_working_beside_tokens(server: Server, key: str) -> None:
    assert server.post(TEXT, headers=bearer(key)).status_code == 200
    response = server.post(TEXT)
    assert response.status_code == 401
    assert response.json()["detail"].startswith("an API key or a token is required")


def test_each_subject_has_its_own_rate(server: Server) -> None:
    first, second = (
        [int(server.post(TEXT, headers=bearer(token(sub=name))).headers["ratelimit-remaining"]) for name in names]
        for names in (("carl", "carl", "carl"), ("dora",))
    )
    assert first == [999, 998, 997]
    assert second == [999]


@pytest.mark.parametrize(
    ("presented", "status", "detail"),
    [
        (token(exp=time.time() - 3600), 401, "this token has expired"),
        (token(aud="else"), 401, "this token is for another audience"),
        (token("stranger", kid="first"), 401, "this token is not valid"),
        (token(scope="jobs"), 403, "this token does not have the scope predict"),
    ],
)
def test_a_token_is_refused_with_a_reason_and_a_log_line(
    server: Server, presented: str, status: int, detail: str
) -> None:
    response = server.post(TEXT, headers=bearer(presented))
    assert (response.status_code, response.json()["detail"]) == (status, detail)
    assert response.headers.get("www-authenticate") == ('Bearer error="invalid_token"' if status == 401 else None)
    line = server.wait_for("key refused", request_id=response.json()["request_id"])
    assert line["reason"] == detail
    assert line.get("key") == ("jwt:anna" if status == 403 else None)
    assert presented not in server.log.read_text()


def test_a_new_key_of_the_provider_is_fetched_when_a_token_comes_with_it(server: Server, idp: Provider) -> None:
    assert server.post(TEXT, headers=bearer(token("second"))).status_code == 401
    idp.content = key_set("second")
    until(lambda: server.post(TEXT, headers=bearer(token("second"))).status_code == 200)
    assert server.post(TEXT, headers=bearer(token("first"))).status_code == 401
    idp.content = key_set("first", "second")
    until(lambda: server.post(TEXT, headers=bearer(token("first"))).status_code == 200)


def test_a_provider_that_is_away_at_the_start_keeps_only_tokens_out(key_file: Path, key: str) -> None:
    with provider() as gone:
        pass
    settings = {"jwt_jwks": gone.address, "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    with serve(backend="mock", api_keys_file=str(key_file), **settings) as server:
        server.wait_for("identity provider not loaded, old keys stay valid")
        response = server.post(TEXT, headers=bearer(token()))
        assert (response.status_code, response.headers["retry-after"]) == (503, "10")
        assert server.post(TEXT, headers=bearer(key)).status_code == 200
