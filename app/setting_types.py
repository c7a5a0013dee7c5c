"""Types of settings that are more than a number or a choice: how to read them, and what is valid."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from .addresses import parse_host, parse_prefix
from .sockets import is_loopback

_SOURCES = ("file", "s3", "gs", "abfs", "https")
# Only signatures with a private key: a shared secret, which verifies tokens, could also make them.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    # An empty variable counts as unset, so `none` is the way to write an empty list.
    return [] if value.strip().lower() == "none" else [part.strip() for part in value.split(",") if part.strip()]


def _network(value: str) -> str:
    ip_network(value)
    return value


def _host(value: str) -> str:
    parse_host(value)
    return value


def _origin(value: str) -> str:
    value = value.lower()  # as browsers send it
    if value != "*" and (not value.startswith(("http://", "https://")) or value.count("/") != 2):
        raise ValueError(f"{value!r} is not an origin; write scheme://host[:port] without a path, or *")
    return value


def _backend(value: str) -> str:
    if value.lower() in ("auto", "onnx", "torch", "mock"):
        return value.lower()
    if not _CLASS.fullmatch(value):
        raise ValueError("expected auto, onnx, torch, mock or package.module:Class")
    return value


def _rate(value: str) -> str:
    from limits import parse_many  # not at the top: this import takes nearly as long as the rest of the module

    if value and not (len(rates := parse_many(value)) == 1 and rates[0].amount >= 1):
        raise ValueError("expected one rate of at least 1, such as 1000/minute")
    return value


def _storage(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if scheme.lower() not in (("redis", "rediss", "redis+unix") if separator else ("memory",)):
        raise ValueError("expected memory, redis://…, rediss://… or redis+unix://…")
    return scheme.lower() + separator + rest


def _redis_url(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if value and (not separator or scheme.lower() not in ("redis", "rediss", "unix")):
        raise ValueError("expected redis://…, rediss://… or unix://…")
    try:
        _ = urlsplit(value).port
    except ValueError:  # its message may quote a part of the password
        raise ValueError(
            "the address is not valid; in a password, write %23 for #, %2F for /, %3F for ?, %40 for @ and %3A for :"
        ) from None
    return scheme.lower() + separator + rest


def _source(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    scheme = scheme.lower()
    if scheme not in _SOURCES or not separator or not rest or (scheme == "file") != rest.startswith("/"):
        raise ValueError(f"{scheme}://… is not a place; write file:///folder, s3://bucket/prefix or https://host/path")
    return scheme + separator + rest


def _jwks(value: str) -> str:
    scheme, separator, _ = value.partition("://")
    if not separator:
        return value
    host = urlsplit(value).hostname or ""
    # Without TLS, an attacker on the network could send other keys, and make tokens with them.
    if not host or scheme.lower() not in ("https", "http") or (scheme.lower() == "http" and not is_loopback(host)):
        raise ValueError("expected a file, or https://…")
    return value


def _algorithm(value: str) -> str:
    for name in _ALGORITHMS:
        if name.lower() == value.lower():
            return name
    raise ValueError(f"expected {', '.join(_ALGORITHMS)}")


def _digest(value: str) -> str:
    value = value.lower().removeprefix("sha256:")
    if value and not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("expected the 64 hexadecimal digits of a sha256")
    return value


_CommaSeparated = (NoDecode, BeforeValidator(_split))
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], *_CommaSeparated]
Files = Annotated[tuple[Path, ...], *_CommaSeparated]
Hosts = Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], *_CommaSeparated]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], *_CommaSeparated]
Address = Annotated[str, AfterValidator(lambda address: address.strip("[]"))]  # IPv6 may be written as in a URL
Backend = Annotated[str, AfterValidator(_backend)]
Digest = Annotated[str, AfterValidator(_digest)]
PathPrefix = Annotated[str, AfterValidator(parse_prefix)]
Rate = Annotated[str, AfterValidator(_rate)]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
Sources = Annotated[tuple[Annotated[str, AfterValidator(_source)], ...], *_CommaSeparated]
JwksSource = Annotated[str, AfterValidator(_jwks)]
Names = Annotated[tuple[str, ...], *_CommaSeparated]
Algorithms = Annotated[tuple[Annotated[str, AfterValidator(_algorithm)], ...], *_CommaSeparated]
RateStorage = Annotated[str, AfterValidator(_storage)]
