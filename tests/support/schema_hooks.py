"""What schemathesis need not try: `tests/integration/test_schema.py`."""

import schemathesis

from app.inference.text import normalise


@schemathesis.hook
def filter_case(_context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Leave out headers that the document doesn't name: HTTP has servers ignore those (RFC 9110, 5.1)."""
    return not any("schemathesis-unknown-property" in name.lower() for name in case.headers or {})


@schemathesis.hook
def filter_body(_context: schemathesis.HookContext, body: object) -> bool:
    """Leave out texts without any visible character, which JSON Schema has no word for."""
    if not isinstance(body, dict):
        return True
    texts = body.get("texts", [body.get("text")])
    return not isinstance(texts, list) or all(not isinstance(text, str) or normalise(text) for text in texts)
