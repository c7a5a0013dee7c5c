"""What a protocol of others consists of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ...serving import Lifecycle
from ..bodies import Bodies
from ..endpoint import Endpoint


class PlainError(BaseModel):
    """An error, for clients of other protocols."""

    error: str = Field(description="What is wrong.", examples=["the model is loading"])


@dataclass(frozen=True, slots=True)
class Protocol:
    """A protocol: what answers requests for predictions, and its routes.

    `models` are bodies that no route mentions by type. Its errors are `{"error": "…"}`: `owns` says for a method and a
    path whether they are part of the protocol.
    """

    endpoint: type[Endpoint]
    router: Callable[[Lifecycle, Bodies], APIRouter]
    models: Sequence[type[BaseModel]]
    owns: Callable[[str, str], bool]
