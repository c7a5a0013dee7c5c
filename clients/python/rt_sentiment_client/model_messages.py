"""Requests and responses about the models of a server. No I/O."""

from typing import Any

from .messages import Answer, Message, json_of, typed, unexpected
from .types import Agreement, ServedModel, ServedVersion


def models_message(request_id: str) -> Message:
    return Message("GET", "/models", request_id)


def read_models(answer: Answer, message: Message) -> tuple[ServedModel, ...]:
    """Read the answer of `/models`; fields that this client does not know are ignored."""
    content = json_of(answer.body, message.request_id)
    try:
        return tuple(
            ServedModel(
                name=typed(model["name"], str),
                default=typed(model["default"], bool),
                ready=typed(model["ready"], bool),
                versions=tuple(_version(version) for version in model["versions"]),
            )
            for model in content["models"]
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise unexpected(message.request_id) from None


def _version(content: Any) -> ServedVersion:
    return ServedVersion(
        version=_optional(content["version"]),
        source=typed(content["source"], str),
        state=typed(content["state"], str),
        reason=typed(content["reason"], str),
        weight=float(content["weight"]),
        share=float(content["share"]),
        shadow=typed(content["shadow"], bool),
        checksum=_optional(content["checksum"]),
        labels=tuple(typed(label, str) for label in content["labels"]),
        golden=_agreement(content["golden"]),
        compared=_agreement(content["compared"]),
        requests=typed(content["requests"], int),
        errors=typed(content["errors"], int),
    )


def _optional(value: object) -> str | None:
    return None if value is None else typed(value, str)


def _agreement(content: Any) -> Agreement | None:
    return None if content is None else Agreement(typed(content["texts"], int), typed(content["agreeing"], int))
