"""The JSON of requests in the Open Inference Protocol, version 2."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import to_json

from ...errors import InvalidInput, TextTooLong
from ...types import Location, Text
from ..form import Form
from ..invalid import BodyInvalid
from ..parser import Item
from ..schemas import Count, CountOrZero, Limits

# Fields and parameters with other names are ignored: the protocol allows extensions.
_STRICT = ConfigDict(strict=True)
_TEXT = {"type": "string", "minLength": 1}
_DATA = {
    "anyOf": [
        {"type": "array", "items": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}, "minItems": 1},
        {"type": "null"},
    ]
}


class InputParameters(BaseModel):
    """Of an input."""

    model_config = _STRICT

    binary_data_size: CountOrZero | None = Field(
        None, description="Bytes of the tensor behind the JSON, instead of `data`."
    )


class InferInput(BaseModel):
    """The texts."""

    model_config = _STRICT

    name: Literal["TEXT"] = Field(description="The name of the tensor.")
    datatype: Literal["BYTES"] = Field(description="The type of its elements: strings in UTF-8.")
    shape: list[Count] = Field(
        min_length=1,
        max_length=2,
        description="`[n]` or `[n, 1]` for n texts, at most SENTIMENT_MAX_BATCH_TEXTS (256).",
    )
    parameters: InputParameters | None = Field(None, description="Of a tensor behind the JSON.")
    data: Annotated[list[Any] | None, WithJsonSchema(_DATA)] = Field(
        None, description="The texts, in one list or in a list for each."
    )

    @property
    def is_binary(self) -> bool:
        """Whether the texts follow the JSON."""
        return self.binary_bytes is not None

    @property
    def binary_bytes(self) -> int | None:
        return self.parameters.binary_data_size if self.parameters else None


class OutputParameters(BaseModel):
    """Of an output."""

    model_config = _STRICT

    binary_data: bool | None = Field(None, description="Whether the tensor follows the JSON of the response.")


class LabelParameters(OutputParameters):
    """Of the output LABEL."""

    classification: None = Field(None, description="Only SCORES can be returned as classes.")


class ScoresParameters(OutputParameters):
    """Of the output SCORES."""

    classification: Count | None = Field(
        None, description='Return the k most likely classes of each text, as `"score:index:label"`.'
    )


class LabelOutput(BaseModel):
    """The most likely class of each text."""

    model_config = _STRICT

    name: Literal["LABEL"] = Field(description="The name of the tensor.")
    parameters: LabelParameters | None = Field(default=None, description="How to return it.")


class ScoresOutput(BaseModel):
    """The probability of each class of each text."""

    model_config = _STRICT

    name: Literal["SCORES"] = Field(description="The name of the tensor.")
    parameters: ScoresParameters | None = Field(default=None, description="How to return it.")


RequestedOutput = Annotated[LabelOutput | ScoresOutput, Field(discriminator="name")]


class RequestParameters(BaseModel):
    """Of the request."""

    model_config = _STRICT

    binary_data_output: bool | None = Field(None, description="`binary_data` of the outputs that do not say it.")
    timeout: CountOrZero | None = Field(
        None, description="Your deadline in microseconds; it can only shorten the server's own. 0 means no deadline."
    )


class InferRequest(BaseModel):
    """A request in the Open Inference Protocol."""

    model_config = _STRICT

    id: str | None = Field(None, max_length=1000, description="The response has the same.")
    parameters: RequestParameters | None = Field(None, description="Of the request as a whole.")
    inputs: list[InferInput] = Field(description="The tensor of the texts.", min_length=1, max_length=1)
    outputs: list[RequestedOutput] | None = Field(None, description="Both if there are none here.")

    @property
    def text(self) -> InferInput:
        """The only input."""
        return self.inputs[0]


class InferOutput(BaseModel):
    """A tensor. It has `data`, or `binary_data_size` if it follows the JSON."""

    name: str = Field(description="The name of the tensor.", examples=["SCORES"])
    datatype: str = Field(description="The type of its elements.", examples=["FP32"])
    shape: list[int] = Field(description="Its dimensions.", examples=[[1, 3]])
    parameters: InputParameters | None = Field(None, description="Of a tensor behind the JSON.")
    data: list[str] | list[float] | None = Field(None, description="The elements, unless they follow the JSON.")


class InferResponse(BaseModel):
    """The outputs for the texts of a request, in their order."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str = Field(description="The name of the model.", examples=["sentiment-en"])
    model_version: str = Field(description="The version of the model.", examples=["0.1.0"])
    id: str | None = Field(None, description="That of the request.")
    outputs: list[InferOutput] = Field(description="In the order of the request.")


def form_of(limits: Limits) -> Form:
    """Return what a body may have, for the parser of large ones."""
    inputs = Form(
        InferInput.model_fields.keys(),
        limits.max_text_chars,
        list_field="data",
        max_texts=limits.max_batch_texts,
        has_rows=True,
        small_fields=("shape", "parameters"),
    )
    return Form(
        InferRequest.model_fields.keys(),
        limits.max_text_chars,
        small_fields=("parameters", "outputs"),
        objects_field="inputs",
        objects=inputs,
    )


def parse(content: bytes | bytearray) -> InferRequest:
    """Validate small JSON. Raises `BodyInvalid`."""
    try:
        return InferRequest.model_validate_json(content)
    except ValidationError as error:
        raise BodyInvalid.from_pydantic(error, InferRequest.model_fields) from None


def validate(value: Any) -> InferRequest:
    """Validate what the parser of large bodies returns, without another copy of the texts. Raises `BodyInvalid`."""
    texts: list[Item] = []
    inputs = value.get("inputs") if isinstance(value, dict) else None
    for each in inputs if isinstance(inputs, list) else ():
        if isinstance(each, dict) and isinstance(each.get("data"), list):
            texts, each["data"] = each["data"], []
    request = parse(to_json(value, inf_nan_mode="constants"))
    if request.text.data is not None:
        request.text.data = texts
    return request


def count_of(text: InferInput, limits: Limits) -> int:
    """Return the number of texts that the shape states. Raises `InvalidInput`."""
    loc: Location = ("body", "inputs", 0, "shape")
    count, *rest = text.shape
    if rest not in ([], [1]):
        raise InvalidInput("expected [n] or [n, 1]", loc)
    if count > limits.max_batch_texts:
        raise TextTooLong(f"the list has more than {limits.max_batch_texts} texts", loc)
    if text.is_binary and text.data is not None:
        raise InvalidInput("the input has both data and binary_data_size", loc[:-1])
    if not text.is_binary and text.data is None:
        raise InvalidInput("the input has no data", loc[:-1])
    return count


def texts_of(data: Sequence[Any], count: int) -> list[Text]:
    """Return the texts of `data`, which must be as many as the shape states. Raises `InvalidInput`."""
    texts = [text for row in data for text in (row if isinstance(row, list) else (row,))]
    if len(texts) != count:
        detail = f"the shape says {count} texts, but there are {len(texts)}"
        raise InvalidInput(detail, ("body", "inputs", 0, "data"))
    for index, text in enumerate(texts):
        if not isinstance(text, Text):
            raise InvalidInput("the text is not a string", location_of(index))
    return texts


def location_of(index: int) -> Location:
    """Return where in a request the text with an index is."""
    return ("body", "inputs", 0, "data", index)
