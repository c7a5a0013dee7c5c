"""The OpenAPI document as a whole: what FastAPI generates, and what it cannot see."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from . import schemas, stream_schemas
from .openapi import REFERENCE, problems

_LICENSE = {"name": "Apache 2.0", "identifier": "Apache-2.0"}
_TAGS = {
    "predict": "The sentiment of texts.",
    "protocols": "The same for clients of other servers.",
    "jobs": "Background jobs, for whole files.",
    "probes": "Whether the service works.",
    "information": "What runs, and how well.",
}
_SECURITY = {
    "Bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the identity provider."},
    "Key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same, in its own header.",
    },
}
_REFERENCED: tuple[type[BaseModel], ...] = (  # schemas that no route mentions by type
    schemas.PredictRequest,
    schemas.BatchRequest,
    stream_schemas.StreamLine,
    stream_schemas.StreamPrediction,
    stream_schemas.StreamFailure,
    schemas.Problem,
)
_VALIDATION_ERRORS = ("HTTPValidationError", "ValidationError")


def operation_id(route: APIRoute) -> str:
    """Return the name of an operation in the document, from which generators derive the names of functions."""
    return route.name


def install_openapi(
    app: FastAPI, *, is_public: Callable[[str, str], bool], models: Sequence[type[BaseModel]] = ()
) -> None:
    """Complete the OpenAPI document of `app`: schemas that no route mentions by type, and which routes need a key.

    These schemas are `models` and our own. `is_public` says for a method and a path whether they need no key.
    """
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            every: list[type[BaseModel]] = [*_REFERENCED, *models]
            _, definitions = models_json_schema([(model, "validation") for model in every], ref_template=REFERENCE)
            document["components"]["schemas"] |= definitions["$defs"]
            _remove_validation_errors(document)
            document["info"]["license"] = _LICENSE
            document["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items()]
            document["security"] = []  # what needs a key says so
            _require_keys(document, is_public)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _require_keys(document: dict[str, Any], is_public: Callable[[str, str], bool]) -> None:
    refusals = {str(status): response for status, response in problems(401, 403).items()}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if not is_public(method.upper(), path):
                document["components"]["securitySchemes"] = _SECURITY
                operation["security"] = [{name: []} for name in _SECURITY]
                operation["responses"] = refusals | operation["responses"]


def _remove_validation_errors(document: dict[str, Any]) -> None:
    """Remove what FastAPI adds to each route with parameters: ours are strings, which are always valid."""
    for name in _VALIDATION_ERRORS:
        document["components"]["schemas"].pop(name, None)
    for operations in document["paths"].values():
        for operation in operations.values():
            if _VALIDATION_ERRORS[0] in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
