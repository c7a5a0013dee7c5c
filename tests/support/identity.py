"""An identity provider: keys, tokens, and a server for its public keys."""

import base64
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = "https://login.example.com/", "sentiment"


@cache
def private_key(name: str) -> Any:
    """The private key of this name: `ec…` and `ed…` are elliptic curves, others RSA."""
    if name.startswith("ec"):
        return ec.generate_private_key(ec.SECP256R1())
    if name.startswith("ed"):
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(name: str, **more: Any) -> dict[str, Any]:
    """What a key set has of a key."""
    kinds: dict[str, Any] = {"ec": ECAlgorithm, "ed": OKPAlgorithm}
    key: dict[str, Any] = kinds.get(name[:2], RSAAlgorithm).to_jwk(private_key(name).public_key(), as_dict=True)
    return {name: value for name, value in key.items() if name != "key_ops"} | {"kid": name, "use": "sig"} | more


def key_set(*keys: str | dict[str, Any]) -> bytes:
    return json.dumps({"keys": [jwk(key) if isinstance(key, str) else key for key in keys]}).encode()


def token(
    key: str = "first", *, algorithm: str = "", kid: str | None = "", without: Sequence[str] = (), **claims: Any
) -> str:
    """A token that is valid unless something else is said. `claims` are added, `without` left out."""
    algorithm = algorithm or {"ec": "ES256", "ed": "EdDSA"}.get(key[:2], "RS256")
    now_s = time.time()
    every = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "exp": now_s + 600, "scope": "openid predict"} | claims
    payload = {name: value for name, value in every.items() if name not in without}
    headers = {} if kid is None else {"kid": kid or key}
    return jwt.encode(payload, private_key(key), algorithm, headers=headers)


def forged(header: dict[str, Any], signature: bytes = b"", **claims: Any) -> str:
    """A token with any header and any signature."""
    payload = jwt.decode(token(**claims), options={"verify_signature": False})
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


class Provider:
    """Serves a key set. `content` and `status` are what it answers now."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.content = key_set("first")
        self.status = 200
        self.requests = 0


@contextmanager
def provider() -> Iterator[Provider]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            running.requests += 1
            self.send_response(running.status)
            self.send_header("Content-Length", str(len(running.content)))
            self.end_headers()
            self.wfile.write(running.content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        running = Provider(f"http://127.0.0.1:{server.server_port}/jwks.json")
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()


def key_file(folder: Path, *keys: str | dict[str, Any]) -> Path:
    file = folder / "jwks.json"
    file.write_bytes(key_set(*keys))
    return file
