"""The JSON of the lines of a stream, as documented in OpenAPI."""

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from .schemas import STRICT, FailedText, PredictResponse, Text

_MAX_ID_CHARS = 256


def is_line_id(value: object) -> bool:
    """Return whether a value of JSON may be the id of a line."""
    if isinstance(value, str):
        return len(value) <= _MAX_ID_CHARS
    return value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _line_id(value: object) -> object:
    if not is_line_id(value):
        message = f"Input should be a string of at most {_MAX_ID_CHARS} characters, a number, true, false or null"
        raise PydanticCustomError("line_id", message)
    return value


LineId = Annotated[
    Any,
    BeforeValidator(_line_id),
    WithJsonSchema({"type": ["string", "number", "boolean", "null"], "maxLength": _MAX_ID_CHARS}),
]


class StreamLine(BaseModel):
    """A line of a stream."""

    model_config = STRICT | ConfigDict(json_schema_extra={"examples": [{"id": 1, "text": "Superb."}]})

    id: LineId = Field(None, description="Yours: any string of up to 256 characters, number, boolean or null.")
    text: Text = Field(description="At least one visible character, at most SENTIMENT_MAX_TEXT_CHARS (10 000).")


class StreamPrediction(PredictResponse):
    """The prediction for a line of a stream."""

    id: LineId = Field(description="That of the line, or null.", examples=[1])


class StreamFailure(FailedText):
    """The answer to a line without a prediction, or, without an `id`, the reason why the server ended the stream."""

    id: LineId = Field(None, description="That of the line; null if it has none, or none that can be read.")
