"""What FastAPI cannot see of the routes of jobs, for the OpenAPI document."""

from typing import Any

from . import job_schemas as schemas
from .openapi import problems
from .training_schemas import TrainingForm, TrainingJob

_REFERENCE = "#/components/schemas/{model}"
MODELS = (schemas.InferenceJob, schemas.InferenceForm, schemas.JobEvent, TrainingJob, TrainingForm)

_MISSING = ("There is none of this id, or it is not yours.", "you have no job of this id")
_STREAM = {"type": "string"}
_EVENT = {"$ref": _REFERENCE.format(model="JobEvent")}  # each of them: OpenAPI 3.1 has no word for a stream


def _responses(*statuses: int, **more: Any) -> dict[int | str, dict[str, Any]]:
    return problems(*{*statuses, 422}, 429, 431, 500, 503, missing=_MISSING) | {
        int(name[1:]): response for name, response in more.items()
    }


def _content(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "Successful Response", "content": {media_type: {"schema": schema}}}


def _submission(kind: str) -> dict[str, Any]:
    """Return the document of a route that takes jobs, as JSON and as a form."""
    content = {
        media_type: {"schema": {"$ref": _REFERENCE.format(model=f"{kind}{form}")}}
        for media_type, form in (("application/json", "Job"), ("multipart/form-data", "Form"))
    }
    body = {"requestBody": {"required": True, "content": content}}
    return {"responses": _responses(400, 408, 413, 415, 422), "openapi_extra": body}


DOCUMENTS: dict[str, dict[str, Any]] = {
    "inference": _submission("Inference"),
    "training": _submission("Training"),
    "list": {"responses": _responses(422)},
    "one": {"responses": _responses(404, 409)},
    "events": {
        "responses": _responses(
            404,
            422,
            _200=_content("text/event-stream", _EVENT),
            _204={"description": "It is over, and you know."},
        )
    },
    "result": {
        "responses": _responses(
            404,
            409,
            422,
            _200={
                "description": "Successful Response",
                "content": {
                    "application/x-ndjson": {"schema": _STREAM},
                    "application/x-tar": {"schema": _STREAM | {"format": "binary"}},
                },
            },
        )
    },
    "cancel": {"responses": _responses(404, _204={"description": "It was over, and is forgotten."})},
}
