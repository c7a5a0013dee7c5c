"""Checks of `rt-sentiment doctor` that are about who can reach the service, and what it has to reach."""

import importlib.util
import socket
import stat
from collections.abc import Iterator
from urllib.parse import urlsplit

from ..access import Keys, read_tokens
from ..config import PREFIX, Settings
from ..errors import KeysError
from ..identity import token_rules
from ..server import authority, is_loopback, listen
from .finding import Finding


def port(settings: Settings) -> Iterator[Finding]:
    """Whether the address is free, and who may use it."""
    where = authority(settings.host, settings.port)
    try:
        listen(settings.host, settings.port).close()
    except OSError as error:
        fix = f"stop what uses it, or choose another {PREFIX}PORT or {PREFIX}HOST"
        yield Finding("port", "problem", f"cannot listen on {where}: {error.strerror or error}", fix)
        return
    yield Finding("port", "ok", f"{where} is free")
    if not is_loopback(settings.host) and not settings.needs_key:
        fix = f"set {PREFIX}API_KEYS_FILE, or restrict access to the port"
        yield Finding("access", "warning", f"anyone who can reach {settings.host} can use the service", fix)


def keys(settings: Settings) -> Iterator[Finding]:
    """Whether the file of API keys can be used."""
    file = settings.api_keys_file
    if file is None:
        if not settings.needs_key:
            yield Finding("keys", "ok", "no API keys: none is needed")
        return
    try:
        names = Keys(file).names
    except KeysError as error:
        yield Finding("keys", "problem", str(error), f"rt-sentiment key {file} NAME creates the file and a key")
        return
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & stat.S_IWOTH:
        yield Finding("keys", "problem", f"everybody may write {file} ({mode:o})", f"chmod o-w {file}")
    elif not names:
        yield Finding(
            "keys", "warning", f"{file} has no key, so nobody can use the service", f"rt-sentiment key {file} NAME"
        )
    else:
        yield Finding("keys", "ok", f"{file}: {len(names)} keys")


def tokens(settings: Settings) -> Iterator[Finding]:
    """Whether the keys of the identity provider can be read."""
    if not settings.jwt_jwks:
        return
    try:
        found = read_tokens(settings.jwt_jwks, token_rules(settings))
        found.refresh()
    except KeysError as error:
        yield Finding("tokens", "problem", str(error), f"check {PREFIX}JWT_JWKS")
        return
    yield Finding("tokens", "ok", f"{settings.jwt_jwks}: {', '.join(found.key_ids) or 'a key without an id'}")


def tls(settings: Settings) -> Iterator[Finding]:
    """Whether the certificate and its key can be read."""
    import ssl

    if not settings.tls_cert_file or not settings.tls_key_file:
        return
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file, password="")  # nosec B106
    except OSError as error:
        fix = f"check {PREFIX}TLS_CERT_FILE and {PREFIX}TLS_KEY_FILE"
        yield Finding("tls", "problem", f"the certificate cannot be used: {error.strerror or error}", fix)
        return
    yield Finding("tls", "ok", f"{settings.tls_cert_file} and its key can be read")


def redis(settings: Settings) -> Iterator[Finding]:
    """Whether each Redis accepts connections."""
    storage = settings.rate_limit_storage if settings.rate_limit else "memory"
    for name, url, without in (
        ("RATE_LIMIT_STORAGE", storage.removeprefix("memory"), "rate limits are not enforced"),
        ("CACHE_REDIS_URL", settings.cache_redis_url, "replicas share no predictions"),
    ):
        if not url:
            continue
        if not importlib.util.find_spec("redis"):
            yield Finding("redis", "problem", "its client is not installed", "pip install 'rt-sentiment[redis]'")
            return
        address, is_socket = urlsplit(url), url.startswith(("redis+unix:", "unix:"))
        where = address.path if is_socket else authority(address.hostname or "localhost", address.port or 6379)
        try:
            if is_socket:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(2)
                    connection.connect(address.path)
            else:
                socket.create_connection((address.hostname or "localhost", address.port or 6379), timeout=2).close()
        except OSError as error:
            fix = f"start Redis, or change {PREFIX}{name}; until then {without}"
            yield Finding("redis", "problem", f"{where} cannot be reached: {error.strerror or error}", fix)
        else:
            yield Finding("redis", "ok", f"{where} accepts connections")
