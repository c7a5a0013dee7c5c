"""The outputs of a response in the Open Inference Protocol."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from ...errors import InvalidInput
from ...types import Prediction
from .messages import InferRequest, LabelOutput, ScoresOutput
from .tensors import encode_strings

_BOTH = (LabelOutput(name="LABEL"), ScoresOutput(name="SCORES"))


def check_outputs(request: InferRequest) -> None:
    """Raise `InvalidInput` if the outputs that a request names cannot be returned."""
    for index, output in enumerate(request.outputs or ()):
        if output.name in [each.name for each in (request.outputs or ())[:index]]:
            raise InvalidInput("the output is requested twice", ("body", "outputs", index))


def render(request: InferRequest, model: str, version: str, predictions: Sequence[Prediction]) -> tuple[bytes, int]:
    """Return the body of a response, and how long its JSON is; tensors may follow it."""
    outputs, tensors = [], []
    all_binary = bool(request.parameters and request.parameters.binary_data_output)
    for requested in request.outputs or _BOTH:
        options = requested.parameters
        is_binary = all_binary if options is None or options.binary_data is None else options.binary_data
        output: dict[str, Any] = {"name": requested.name, "datatype": "BYTES", "shape": [len(predictions)]}
        tensor: bytes | None = None
        if requested.name == "SCORES" and not (options and options.classification):
            scores = np.array([[*each.scores.values()] for each in predictions], dtype="<f4")
            output |= {"datatype": "FP32", "shape": scores.shape, "data": scores.ravel()}
            tensor = scores.tobytes() if is_binary else None
        else:
            values = [each.shown_label or "" for each in predictions]
            if requested.name == "SCORES":
                classes = [_classes(each, (options and options.classification) or 0) for each in predictions]
                output["shape"] = [len(predictions), len(classes[0])]
                values = [value for row in classes for value in row]
            output["data"] = values
            tensor = encode_strings(values) if is_binary else None
        if tensor is not None:
            del output["data"]
            output["parameters"] = {"binary_data_size": len(tensor)}
            tensors.append(tensor)
        outputs.append(output)
    answer: dict[str, Any] = {"model_name": model, "model_version": version}
    if request.id:
        answer["id"] = request.id
    content = orjson.dumps(answer | {"outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join([content, *tensors]), len(content)


def _classes(prediction: Prediction, count: int) -> list[str]:
    """Return the most likely classes as Triton's extension writes them."""
    order = sorted(enumerate(prediction.scores.items()), key=lambda item: -item[1][1])
    return [f"{score:f}:{index}:{label}" for index, (label, score) in order[:count]]
