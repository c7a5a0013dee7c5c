"""From the settings to whose API keys and tokens are accepted."""

import sys
from pathlib import Path

import pytest

from app.access import add_key
from app.cli.checks import run_checks
from app.config import SettingsError, load_settings
from app.errors import KeysError
from app.identity import open_credentials
from tests.support.identity import AUDIENCE, ISSUER, key_file, provider, token

TOKENS = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "backend": "mock"}


def test_by_default_nobody_needs_anything() -> None:
    settings = load_settings()
    assert open_credentials(settings) is None
    assert not settings.needs_key


def test_keys_and_tokens_may_be_set_together(tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.yaml", "web")
    flags = {"jwt_jwks": str(key_file(tmp_path, "ec")), "jwt_algorithms": "es256,PS512,eddsa", "jwt_leeway_s": "0"}
    settings = load_settings(TOKENS | flags | {"api_keys_file": tmp_path / "keys.yaml", "api_keys_for_all": True})
    assert settings.jwt_algorithms == ("ES256", "PS512", "EdDSA")
    credentials = open_credentials(settings)
    assert credentials
    assert credentials.check(key, "predict").name == "web"
    assert credentials.check(token("ec"), "predict").name == "jwt:anna"
    only = open_credentials(settings.model_copy(update={"api_keys_file": None}))
    assert only
    assert only.keys is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"jwt_jwks": "keys.json"}, "JWT_JWKS needs JWT_ISSUER and JWT_AUDIENCE"),
        ({"jwt_jwks": "keys.json", "jwt_issuer": "a"}, "JWT_JWKS needs JWT_ISSUER and JWT_AUDIENCE"),
        ({"jwt_jwks": "http://login.example.com/keys"}, "JWT_JWKS: expected a file, or https://"),
        ({"jwt_jwks": "ftp://login.example.com/keys"}, "JWT_JWKS: expected a file, or https://"),
        ({"jwt_algorithms": "none"}, "JWT_ALGORITHMS"),
        ({"jwt_algorithms": "HS256"}, "JWT_ALGORITHMS: expected RS256"),
        ({"jwt_leeway_s": "301"}, "JWT_LEEWAY_S"),
        ({"api_keys_for_all": "true"}, "API_KEYS_FOR_ALL needs API_KEYS_FILE or JWT_JWKS"),
    ],
)
def test_settings_that_would_accept_anything_are_refused(flags: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(flags)


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    settings = load_settings(TOKENS | {"jwt_jwks": str(tmp_path / "none.json")})
    with pytest.raises(KeysError, match=r"SENTIMENT_JWT_JWKS: .*none\.json: No such file"):
        open_credentials(settings)


def test_the_extra_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "app.access.tokens", raising=False)
    monkeypatch.setitem(sys.modules, "jwt", None)
    settings = load_settings(TOKENS | {"jwt_jwks": str(key_file(tmp_path, "first"))})
    with pytest.raises(KeysError, match=r"SENTIMENT_JWT_JWKS: jwt is not installed: pip install 'rt-sentiment\[jwt\]'"):
        open_credentials(settings)
    (found,) = [each for each in run_checks(settings) if each.name == "tokens"]
    assert found.detail.startswith("jwt is not installed")


def test_doctor_reads_the_keys_of_the_provider() -> None:
    with provider() as idp:
        findings = run_checks(load_settings(TOKENS | {"jwt_jwks": idp.address, "port": 0}))
    assert [(each.level, each.detail) for each in findings if each.name == "tokens"] == [
        ("ok", f"{idp.address}: first")
    ]
    assert not [each for each in findings if each.name == "keys"]
    findings = run_checks(load_settings(TOKENS | {"jwt_jwks": idp.address, "port": 0}))
    assert [each.level for each in findings if each.name == "tokens"] == ["problem"]
