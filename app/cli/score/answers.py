"""What the answers of a server say. Pure."""

import json
from typing import Any

from ...tables import Result
from ...types import Prediction


def json_of(data: bytes) -> Any:
    """Return the JSON of a response, or None if it is something else."""
    try:
        return json.loads(data)
    except ValueError:
        return None


def detail_of(answer: Any) -> str:
    """Return what the JSON of an error says."""
    return str(answer.get("detail", "")) if isinstance(answer, dict) else "no JSON"


def result_of(answer: dict[str, Any]) -> Result:
    """Return a prediction, or why a text has none."""
    if "error" in answer:
        return str(answer["error"]["detail"])
    return Prediction.from_shown(answer["label"], answer["confidence"], answer["scores"], answer["truncated"])


def shallow(answer: dict[str, Any]) -> str:
    """Say why predictions must not be kept: overload has made some of them less good. Nothing if it has not."""
    is_shallow = any(each.get("shallow") for each in answer["predictions"])
    return "the server is overloaded, and gives shallow answers" if is_shallow else ""
