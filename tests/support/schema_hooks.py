"""Hooks that keep schemathesis from useless requests, for `tests/integration/test_schema.py`."""

import json
from typing import Any

import schemathesis

from app.inference.text import normalise


@schemathesis.hook
def filter_case(_context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Skip headers that the document does not name: servers ignore unknown headers (RFC 9110, 5.1)."""
    return not any("schemathesis-unknown-property" in name.lower() for name in case.headers or {})


@schemathesis.hook
def filter_body(_context: schemathesis.HookContext, body: object) -> bool:
    """Skip texts without visible characters: JSON Schema cannot exclude them."""
    if not isinstance(body, dict):
        return True
    texts = body.get("texts", [body.get("text")])
    return not isinstance(texts, list) or all(not isinstance(text, str) or normalise(text) for text in texts)


@schemathesis.serializer("application/x-ndjson")
def serialise_line(_context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Send one line."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode() + b"\n"


@schemathesis.deserializer("application/x-ndjson")
def parse_line(_context: schemathesis.DeserializationContext, response: schemathesis.Response) -> Any:
    """Read the answer to it."""
    return json.loads(response.content)
