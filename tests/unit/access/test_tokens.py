"""Tokens of an identity provider: which ones are accepted, and when its keys are read again."""

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.access import Credentials, Keys, Refused, Unavailable, add_key
from app.access.tokens import TokenRules, Tokens
from app.errors import KeysError
from tests.support.identity import (
    AUDIENCE,
    ISSUER,
    Provider,
    forged,
    jwk,
    key_file,
    key_set,
    private_key,
    provider,
    token,
)

RULES = TokenRules(ISSUER, [AUDIENCE, "another"])
ALL = ("RS256", "RS512", "PS256", "ES256", "EdDSA")


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(str(key_file(tmp_path, "first", "second", "ec")), RULES)


@pytest.fixture
def idp() -> Iterator[Provider]:
    with provider() as running:
        yield running


def refusal(tokens: Tokens, presented: str) -> str:
    with pytest.raises(Refused) as caught:
        tokens.find(presented)
    assert caught.value.can_be_renewed
    assert caught.value.name is None
    return str(caught.value)


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({}, {"predict"}),
        ({"scope": "jobs admin predict"}, {"jobs", "admin", "predict"}),
        ({"scope": ["jobs", "else"]}, {"jobs"}),
        ({"scope": None}, set()),
        ({"scope": {"predict": True}}, set()),
        ({"aud": ["else", "another"]}, {"predict"}),
        ({"sub": "auth0|Ünal"}, {"predict"}),
    ],
)
def test_a_valid_token_says_who_may_do_what(tokens: Tokens, claims: dict[str, Any], scopes: set[str]) -> None:
    expires = int(time.time()) + 100
    for _ in range(2):  # the second time from memory
        identity = tokens.find(token(exp=expires, **claims))
        assert identity.name == f"jwt:{claims.get('sub', 'anna')}"
        assert identity.scopes == scopes
        assert identity.expires == datetime.fromtimestamp(expires, UTC)
        assert identity.is_token


def test_the_scopes_may_be_in_another_claim(tmp_path: Path) -> None:
    tokens = Tokens(str(key_file(tmp_path, "first")), TokenRules(ISSUER, [AUDIENCE], scopes_claim="roles"))
    assert tokens.find(token(roles=["admin"])).scopes == {"admin"}


@pytest.mark.parametrize(
    ("key", "algorithm"), [("first", "RS256"), ("first", "RS512"), ("first", "PS256"), ("ec", "ES256"), ("ed", "EdDSA")]
)
def test_algorithms_that_are_allowed_are_verified(tmp_path: Path, key: str, algorithm: str) -> None:
    file = str(key_file(tmp_path, "first", "ec", "ed"))
    presented = token(key, algorithm=algorithm)
    assert Tokens(file, TokenRules(ISSUER, [AUDIENCE], ALL)).find(presented).name == "jwt:anna"
    others = [each for each in ALL if each != algorithm]
    assert refusal(Tokens(file, TokenRules(ISSUER, [AUDIENCE], others)), presented) == "this token is not valid"


def test_a_key_that_states_its_algorithm_verifies_no_other(tmp_path: Path) -> None:
    tokens = Tokens(str(key_file(tmp_path, jwk("first", alg="RS256"))), TokenRules(ISSUER, [AUDIENCE], ALL))
    assert tokens.find(token()).name == "jwt:anna"
    assert refusal(tokens, token(algorithm="RS512")) == "this token is not valid"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": time.time() - 3600}, "this token has expired"),
        ({"nbf": time.time() + 3600}, "this token is not valid yet"),
        ({"iss": "https://login.example.org/"}, "this token is from another issuer"),
        ({"aud": "else"}, "this token is for another audience"),
        ({"aud": []}, "this token has no claim aud"),
        ({"without": ["exp"]}, "this token has no claim exp"),
        ({"without": ["sub"]}, "this token has no claim sub"),
        ({"without": ["aud"]}, "this token has no claim aud"),
        ({"without": ["iss"]}, "this token has no claim iss"),
        ({"sub": ""}, "the subject of this token is not a name"),
        ({"sub": "a\nb"}, "the subject of this token is not a name"),
        ({"sub": "a" * 256}, "the subject of this token is not a name"),
        ({"kid": "unknown"}, "this token was signed with an unknown key"),
        ({"kid": None}, "this token was signed with an unknown key"),
        ({"key": "stranger", "kid": "first"}, "this token is not valid"),
        ({"key": "second", "kid": "first"}, "this token is not valid"),
        ({"key": "ec", "kid": "first"}, "this token is not valid"),
    ],
)
def test_a_token_that_is_not_valid_is_refused(tokens: Tokens, claims: dict[str, Any], reason: str) -> None:
    assert refusal(tokens, token(**claims)) == reason


def test_a_token_is_not_signed_by_saying_so(tokens: Tokens) -> None:
    public = private_key("first").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for header in ({"alg": "none"}, {"alg": "None"}, {"alg": "HS256"}, {"alg": "RS256"}, {"alg": ["RS256"]}, {}):
        header |= {"typ": "JWT", "kid": "first"}
        unsigned = forged(header)
        mac = hmac.digest(public, unsigned.rpartition(".")[0].encode(), hashlib.sha256)
        for presented in (unsigned, forged(header, mac)):
            assert refusal(tokens, presented) == "this token is not valid"
    critical = forged({"alg": "RS256", "kid": "first", "crit": ["b64"], "b64": False})
    assert refusal(tokens, critical) == "this token is not valid"


@pytest.mark.parametrize("presented", ["..", "a.b.c", "eyJ.eyJ.x", "." * 3, "\udcff.a.b", "é.b.c", "x" * 30_000])
def test_what_is_no_token_is_refused(tokens: Tokens, presented: str) -> None:
    assert refusal(tokens, presented) == "this token is not valid"


def test_a_token_with_deep_json_is_refused(tokens: Tokens) -> None:
    header = base64.urlsafe_b64encode(b'{"alg": "RS256", "kid": "first", "deep": ' + b"[" * 10_000).decode()
    assert refusal(tokens, f"{header}.e30.c2ln") == "this token is not valid"


def test_clocks_may_differ_by_the_leeway(tokens: Tokens) -> None:
    assert tokens.find(token(exp=time.time() - 20)).name == "jwt:anna"
    assert refusal(tokens, token(exp=time.time() - 40)) == "this token has expired"
    assert tokens.find(token(nbf=time.time() + 20)).name == "jwt:anna"


def test_a_token_that_is_remembered_expires(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    presented = token(exp=int(time.time()) + 5)
    assert tokens.find(presented).name == "jwt:anna"

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Later":
            return cls.fromtimestamp(time.time() + 3600, tz)

    monkeypatch.setattr("app.access.tokens.datetime", Later)
    assert refusal(tokens, presented) == "this token has expired"


def test_without_an_id_the_only_key_is_meant(tmp_path: Path) -> None:
    tokens = Tokens(str(key_file(tmp_path, "first")), RULES)
    assert tokens.find(token(kid=None)).name == "jwt:anna"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a JSON web key set"),
        (b"[]", "not a JSON web key set"),
        (b'{"keys": 1}', "not a JSON web key set"),
        (b"[" * 10_000, "not a JSON web key set"),
        (b'{"keys": []}', "it has no key that can verify a token"),
        (b'{"keys": [1, {}, {"kty": "RSA"}]}', "it has no key that can verify a token"),
        (b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}]}', "it has no key that can verify a token"),
    ],
)
def test_a_file_without_keys_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(content)
    with pytest.raises(KeysError, match=reason):
        Tokens(str(file), RULES)


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="No such file"):
        Tokens(str(tmp_path / "none.json"), RULES)


def test_keys_of_other_kinds_are_left_out(tmp_path: Path) -> None:
    tokens = Tokens(str(key_file(tmp_path, jwk("second", use="enc"), {"kty": "new", "kid": "x"}, "first")), RULES)
    assert tokens.key_ids == ["first"]


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    clock = Clock()
    file = key_file(tmp_path, "first")
    tokens = Tokens(str(file), RULES, clock)
    assert tokens.find(token()).name == "jwt:anna"
    key_file(tmp_path, "second")
    assert not tokens.refresh()  # it has just been read
    clock.now_s += 11
    assert tokens.refresh()
    assert tokens.find(token("second")).name == "jwt:anna"
    assert refusal(tokens, token()) == "this token was signed with an unknown key"
    file.write_text("{")
    clock.now_s += 11
    with pytest.raises(KeysError):
        tokens.refresh()
    assert tokens.find(token("second")).name == "jwt:anna"  # the old keys stay


def test_an_address_is_asked_every_few_minutes_and_for_a_new_key(idp: Provider) -> None:
    clock = Clock()
    tokens = Tokens(idp.address, RULES, clock)
    with pytest.raises(Unavailable, match="cannot be read at the moment"):
        tokens.find(token())
    assert tokens.refresh()
    assert tokens.find(token()).name == "jwt:anna"
    clock.now_s += 100
    assert not tokens.refresh()
    assert idp.requests == 1
    idp.content = key_set("first", "second")
    assert refusal(tokens, token("second")) == "this token was signed with an unknown key"
    assert tokens.refresh()
    assert tokens.find(token("second")).name == "jwt:anna"
    for _ in range(3):
        assert refusal(tokens, token("stranger")) == "this token was signed with an unknown key"
        assert not tokens.refresh()  # not before ten seconds are over
    assert idp.requests == 2
    clock.now_s += 301
    assert not tokens.refresh()  # the same keys as before
    assert idp.requests == 3


@pytest.mark.parametrize(("status", "content"), [(500, b"{}"), (200, b"<html>"), (200, b" " * (1024 * 1024 + 1))])
def test_a_provider_that_fails_leaves_the_old_keys(idp: Provider, status: int, content: bytes) -> None:
    clock = Clock()
    tokens = Tokens(idp.address, RULES, clock)
    assert tokens.refresh()
    idp.status, idp.content = status, content
    clock.now_s += 301
    with pytest.raises(KeysError, match=idp.address):
        tokens.refresh()
    assert tokens.find(token()).name == "jwt:anna"


def test_a_provider_that_is_away_is_tried_again_soon() -> None:
    clock = Clock()
    with provider() as gone:
        pass
    tokens = Tokens(gone.address, RULES, clock)
    for _ in range(2):
        with pytest.raises(KeysError, match="refused"):
            tokens.refresh()
        assert not tokens.refresh()
        clock.now_s += 11


def test_keys_and_tokens_share_one_way_in(tmp_path: Path, tokens: Tokens) -> None:
    key = add_key(tmp_path / "keys.yaml", "web")
    both = Credentials(Keys(tmp_path / "keys.yaml"), tokens)
    assert (both.check(key, "predict").name, both.check(token(), None).name) == ("web", "jwt:anna")
    with pytest.raises(Refused, match="this token does not have the scope jobs") as caught:
        both.check(token(), "jobs")
    assert (caught.value.name, caught.value.can_be_renewed) == ("jwt:anna", False)
    with pytest.raises(Refused, match="this API key does not have the scope admin"):
        both.check(key, "admin")
    with pytest.raises(Refused, match="this API key is not valid"):
        both.check("rts_wrong", None)
    with pytest.raises(Refused, match="this API key is not valid"):
        Credentials(both.keys).check(token(), None)
    with pytest.raises(Refused, match="this token is not valid"):
        Credentials(None, tokens).check(key, None)
    kinds = [Credentials(*each).kinds for each in ((both.keys, None), (None, tokens), (both.keys, tokens))]
    assert kinds == ["an API key", "a token", "an API key or a token"]
