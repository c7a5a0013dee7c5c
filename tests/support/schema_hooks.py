"""Hooks that keep schemathesis from useless requests, for `tests/integration/test_schema.py`."""

import schemathesis

from app.inference.text import normalise


@schemathesis.hook
def filter_case(_context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Skip headers that the document does not name: servers ignore unknown headers (RFC 9110, 5.1).

    Also skip bodies of which the schema says nothing, in every phase.
    """
    if any("schemathesis-unknown-property" in name.lower() for name in case.headers or {}):
        return False
    return _is_in_the_schema(case.body)


def _is_in_the_schema(body: object) -> bool:
    """Return False for texts without visible characters, which JSON Schema cannot exclude.

    Also for partial lists with something else than texts. It gets an error in its place, which the schema does not say.
    """
    if not isinstance(body, dict):
        return True
    texts = body.get("texts", [body.get("text")])
    if not isinstance(texts, list):
        return True
    if body.get("partial") is True and not all(isinstance(text, str) for text in texts):
        return False
    return all(not isinstance(text, str) or bool(normalise(text)) for text in texts)
