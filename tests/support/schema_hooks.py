"""Hooks that keep schemathesis from useless requests, for `tests/system/test_schema.py`."""

import json
from typing import Any

import schemathesis
from pydantic import ValidationError

from app.api.protocols.messages import InferRequest
from app.inference.text import normalise


@schemathesis.hook
def filter_case(_context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Skip headers and parameters that the document does not name: servers ignore unknown ones (RFC 9110, 5.1).

    Also skip what JSON Schema cannot exclude, in every phase: shapes that are not those of the data, for example.
    """
    if any("schemathesis-unknown-property" in name.lower() for name in [*(case.headers or ()), *(case.query or ())]):
        return False
    if case.media_type == "multipart/form-data" and _has_absent_fields(case.body):
        return False
    return _is_in_the_schema(case.body) and agrees(case.body)


def _has_absent_fields(body: object) -> bool:
    """Whether a field of a form is empty that must not be: it counts as absent, which JSON Schema cannot say."""
    may_be_empty = {"encoding", "delimiter", "prefix"}
    return isinstance(body, dict) and any(body[name] in ("", b"", None, []) for name in body.keys() - may_be_empty)


def _is_in_the_schema(body: object) -> bool:
    """Return False for texts without visible characters, which JSON Schema cannot exclude.

    Also for partial lists with something else than texts. It gets an error in its place, which the schema does not say.
    """
    if not isinstance(body, dict):
        return True
    texts = body.get("texts", body.get("inputs", [body.get("text")]))
    texts = texts if isinstance(texts, list) else [texts]
    if texts and isinstance(texts[0], dict) and isinstance(data := texts[0].get("data"), list):
        texts = flat(data)
    if body.get("partial") is True and not all(isinstance(text, str) for text in texts):
        return False
    return all(not isinstance(text, str) or bool(normalise(text)) for text in texts)


@schemathesis.hook
def map_path_parameters(_context: schemathesis.HookContext, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Name the model that the server has, because others are only 404."""
    return parameters and dict.fromkeys(parameters, "mock")


@schemathesis.hook
def map_body(_context: schemathesis.HookContext, body: Any) -> Any:
    """Let the parts of a request of the Open Inference Protocol agree, which JSON Schema cannot state."""
    try:
        request = InferRequest.model_validate(body)
    except ValidationError:
        return body
    text = body["inputs"][0]
    if text.get("data") is None:
        text["data"] = ["good"]
    if request.text.is_binary:
        del text["parameters"]
    if texts := flat(text["data"]):
        text["shape"] = [len(texts)]
    outputs = {each["name"]: each for each in body.get("outputs") or ()}
    if outputs:
        body["outputs"] = [*outputs.values()]
    return body


def agrees(body: Any) -> bool:
    """Whether a request of the Open Inference Protocol is not valid at all, or has as many texts as its shape says."""
    try:
        text = InferRequest.model_validate(body).text
    except ValidationError:
        return True
    return not text.is_binary and len(flat(text.data or [])) == text.shape[0]


def flat(data: list[Any]) -> list[Any]:
    return [text for row in data for text in (row if isinstance(row, list) else [row])]


@schemathesis.serializer("application/x-ndjson")
def serialise_line(_context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Send one line."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode() + b"\n"


@schemathesis.deserializer("application/x-ndjson")
def parse_line(_context: schemathesis.DeserializationContext, response: schemathesis.Response) -> Any:
    """Read the answer to it."""
    return json.loads(response.content)
