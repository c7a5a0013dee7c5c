"""`POST /v2/repository/index`: the versions of all models, as Triton's clients list them."""

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, RootModel

from ...serving import Lifecycle, ServedModel, Version
from ..bodies import SMALL_BYTES, Bodies
from ..context import context_of
from ..form import Form
from ..json_body import JsonReader
from ..openapi import REFERENCE, problems
from ..parser import BodyParser
from ..request import check_length, validate
from .metadata import served_name

State = Literal["LOADING", "READY", "UNAVAILABLE", "UNLOADING"]

_STATES: Mapping[str, State] = {
    "loading": "LOADING",
    "ready": "READY",
    "failed": "UNAVAILABLE",
    "draining": "UNLOADING",
}


class RepositoryIndexRequest(BaseModel):
    """Which versions to list. Other fields are ignored."""

    model_config = ConfigDict(strict=True, json_schema_extra={"examples": [{"ready": True}]})

    ready: bool = Field(False, description="Only those that can answer.")


class RepositoryVersion(BaseModel):
    """A version of a model."""

    name: str = Field(description="The name of the model.", examples=["sentiment-en"])
    version: str = Field(description="The version; empty if it is not loaded.", examples=["0.1.0"])
    state: State = Field(description="Whether it can answer.", examples=["READY"])
    reason: str = Field(description="Why it cannot answer; empty if it can.", examples=[""])


class RepositoryIndex(RootModel[list[RepositoryVersion]]):
    """The versions of all models, in the order of the models file."""


def index_of(lifecycle: Lifecycle, *, ready: bool) -> RepositoryIndex:
    """Return all versions, or those that are ready."""
    versions = [
        _describe(model, version)
        for model in lifecycle.registry.models.values()
        if model.name
        for version in model.versions
    ]
    return RepositoryIndex([each for each in versions if each.state == "READY" or not ready])


def _describe(model: ServedModel, version: Version) -> RepositoryVersion:
    return RepositoryVersion(
        name=served_name(model.name),
        version=served_name(version.info.model_version) if version.info else "",
        state=_STATES[version.state],
        reason=version.reason or version.public_reason,
    )


def add_repository_index(router: APIRouter, lifecycle: Lifecycle, bodies: Bodies) -> None:
    """Add the route. Clients may send no body, and need no content type."""
    form = Form(RepositoryIndexRequest.model_fields.keys(), SMALL_BYTES)
    reader = JsonReader(
        bodies,
        SMALL_BYTES,
        form,
        RepositoryIndexRequest,
        lambda value: validate(RepositoryIndexRequest, value),
        lambda _: (),
    )

    @router.post("/v2/repository/index", **_document())
    async def v2_repository_index(request: Request) -> RepositoryIndex:
        """List the versions of all models, and whether they can answer."""
        check_length(context_of(request.scope).headers, SMALL_BYTES)
        with bodies.hold() as body:
            content = await body.read(request.receive, SMALL_BYTES, lambda: BodyParser(form))
            assert isinstance(content, bytes)  # because it is small
            wanted = await reader.parse(content) if content.strip() else RepositoryIndexRequest(ready=False)
        return index_of(lifecycle, ready=wanted.ready)


def _document() -> dict[str, Any]:
    schema = {"$ref": REFERENCE.format(model=RepositoryIndexRequest.__name__)}
    return {
        "responses": problems(400, 401, 403, 408, 413, 422, 429, 431, 500, loc=("body", "ready"), plain=True),
        "openapi_extra": {
            "requestBody": {
                "required": False,
                "content": {"application/json": {"schema": schema, "example": {"ready": True}}},
            }
        },
    }
