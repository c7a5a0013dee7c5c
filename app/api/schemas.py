"""The JSON of requests and responses, as documented in OpenAPI."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, StringConstraints

from .model_schemas import GoldenTexts

# Strict: the string "1" is not accepted as a number. An unknown field is an error, so that typos do not pass silently.
STRICT = ConfigDict(strict=True, extra="forbid")

MAX_EXPLAINED = 16  # texts of a list

Text = Annotated[str, StringConstraints(min_length=1)]


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# JSON Schema counts 3.0 as an integer, and some clients send integers like this.
Count = Annotated[int, Field(ge=1), BeforeValidator(_whole)]
CountOrZero = Annotated[int, Field(ge=0), BeforeValidator(_whole)]


class Options(BaseModel):
    """Options of a prediction request."""

    model_config = STRICT

    truncate: bool = Field(
        True, description="Cut off a text that is too long for the model. If false, such a text gets 413."
    )
    long_text: Literal["truncate", "window"] = Field(
        "truncate",
        description="How to read a text that is too long for the model. `truncate` reads only its beginning. `window` "
        "reads all of it, in windows whose scores are averaged, weighted by length; the option `truncate` then has no "
        "effect.",
    )
    model: str | None = Field(
        None, max_length=64, description="The name of the model, one of those of `GET /models`; by default the first."
    )
    top_k: Count | None = Field(None, description="Keep only the k most likely classes in `scores`.")
    explain: bool = Field(
        False,
        description="Add `explanation`: how much each word speaks for the label. Runs up to 128 variants of each text, "
        f"so a list may have at most {MAX_EXPLAINED} texts, and a text 2 000 characters.",
    )


class PredictRequest(Options):
    """A single text."""

    model_config = STRICT | ConfigDict(json_schema_extra={"examples": [{"text": "An instant classic, if you ask me."}]})

    text: Text = Field(description="At least one visible character, at most SENTIMENT_MAX_TEXT_CHARS (10 000).")


def _state_conditions(schema: dict[str, Any]) -> None:
    """Say in the JSON Schema what depends on `explain`: how many texts there may be.

    It does not say that with `partial` anything may be in the list, because generated clients would lose the type.
    """
    schema["if"] = {"properties": {"explain": {"const": True}}, "required": ["explain"]}
    schema["then"] = {"properties": {"texts": {"maxItems": MAX_EXPLAINED}}}
    schema["examples"] = [{"texts": ["good", "bad", "meh"]}]


class BatchRequest(Options):
    """A list of texts."""

    model_config = STRICT | ConfigDict(json_schema_extra=_state_conditions)

    # Validation stops at the first invalid text, because a list may have a million.
    texts: list[Text] = Field(
        min_length=1, fail_fast=True, description="At most SENTIMENT_MAX_BATCH_TEXTS (256) texts."
    )
    partial: bool = Field(
        False,
        description="What happens if a text cannot be predicted. If false, the whole request fails. If true, the text "
        "has an error in its place, and all others have their predictions.",
    )


class PartialBatchRequest(Options):
    """A list with something that is not a valid text, which gets an error in its place."""

    texts: list[Any] = Field(min_length=1, description="At most SENTIMENT_MAX_BATCH_TEXTS (256) texts.")
    partial: Annotated[Literal[True], BeforeValidator(lambda value: value is True)]  # 1 equals True


class WordWeight(BaseModel):
    """A word of the text, and how much it speaks for the label."""

    start: int = Field(description="Index of its first character in the text of the request.", examples=[3])
    end: int = Field(description="Index after its last character.", examples=[10])
    weight: float = Field(
        description="By how much the word raises the log-odds of the label; negative if it lowers them.", examples=[1.8]
    )


class PredictResponse(BaseModel):
    """The prediction for one text."""

    label: str | None = Field(
        description="The most likely class; null if its probability is below `SENTIMENT_ABSTAIN_BELOW`, which is 0 by "
        "default.",
        examples=["positive"],
    )
    confidence: float = Field(description="The probability of the most likely class.", examples=[0.993])
    scores: dict[str, float] = Field(
        description="The probability of each class, in the model's order.",
        examples=[{"negative": 0.002, "neutral": 0.005, "positive": 0.993}],
    )
    truncated: bool = Field(
        description="Whether the end of the text was ignored because the text has more tokens than the model reads.",
        examples=[False],
    )
    shallow: bool = Field(
        False,
        description="Present, and true, if the model ran fewer layers than the text needed: see SENTIMENT_BROWNOUT_MS.",
    )
    explanation: list[WordWeight] | None = Field(None, description='The words, in order. Only with `"explain": true`.')


class TextError(BaseModel):
    """Why a text has no prediction."""

    status: int = Field(description="The status that a request with this text alone would get.", examples=[422])
    detail: str = Field(description="What is wrong with the text.", examples=["the text has no visible character"])


class FailedText(BaseModel):
    """The place of a text without a prediction. Only with `"partial": true`."""

    error: TextError = Field(description="What takes the place of a prediction.")


class BatchResponse(BaseModel):
    """One prediction per text, in the same order."""

    predictions: list[PredictResponse | FailedText] = Field(description="In the order of the texts.")


class Live(BaseModel):
    """Liveness: the process runs."""

    status: Literal["ok"] = Field(description="Always `ok`: a process that does not run cannot answer.")


class Ready(BaseModel):
    """Readiness: whether predictions are available."""

    status: Literal["ok", "loading", "degraded", "draining"] = Field(description="`ok` if predictions are available.")
    reason: str = Field(description="Why the status is not `ok`; empty if it is.", examples=[""])


class Health(Ready):
    """Readiness in detail. Fields about the model are null while it loads."""

    backend: str | None = Field(description="What runs the model.", examples=["onnx"])
    device: str | None = Field(description="Where it runs.", examples=["cpu"])
    model: str | None = Field(description="Name of the model.", examples=["sentiment-en"])
    version: str = Field(description="Version of the service.", examples=["0.1.0"])
    uptime_s: float = Field(description="Seconds since the process started.")
    queue_depth: int = Field(description="Number of texts that are waiting for the model.")
    golden: GoldenTexts | None = Field(description="Golden texts of the default model; null if it has none.")


class Limits(BaseModel):
    """The limits of a request."""

    model_config = ConfigDict(frozen=True)

    max_text_chars: int = Field(description="Characters of a text.")
    max_batch_texts: int = Field(description="Texts of a list.")
    max_body_bytes: int = Field(description="Bytes of a body.")
    request_timeout_ms: float = Field(description="Milliseconds that a request may take.")
    max_upload_bytes: int | None = Field(None, description="Most bytes of an upload for a job; null if jobs are off.")


class Build(BaseModel):
    """Versions of the software that runs."""

    version: str = Field(description="Version of the service.")
    python: str = Field(description="Version of Python.")
    platform: str = Field(description="Operating system and processor.")


class TokensPerSecond(RootModel[dict[str, int]]):
    """Tokens per second of each backend."""


class Info(BaseModel):
    """The model, the limits and the build."""

    model: str = Field(description="Name of the model.")
    model_version: str = Field(description="Version of the model.")
    labels: list[str] = Field(description="The classes, in the order of `scores`.")
    max_tokens: int = Field(description="Tokens that the model reads of a text.")
    temperature: float = Field(
        description="The logits are divided by this before the softmax. 1 unless the model was calibrated."
    )
    backend: str = Field(description="What runs the model: `onnx`, `torch`, `mock` or your own class.")
    device: str = Field(description="Where it runs: `cpu` or `cuda`.")
    precision: str = Field(description="In which numbers it computes, such as `int8` or `fp32`.")
    checksum: str | None = Field(description="SHA-256 of the weights.")
    manifest: str | None = Field(description="SHA-256 of `manifest.json`, which has that of each file of the model.")
    compared_tokens_per_s: TokensPerSecond | None = Field(
        description="How fast each backend is, if they were compared at start. The fastest one is used."
    )
    abstain_below: float = Field(description="Predictions with a lower confidence have the label null; 0: none.")
    layers: int = Field(description="The layers of a model with exits; 0 for one without.")
    exits: list[int] = Field(description="The layers after which a text may leave the model.")
    limits: Limits = Field(description="What the server accepts.")
    build: Build = Field(description="What software runs.")


class FieldError(BaseModel):
    """An error in one part of a request."""

    loc: list[str | int] = Field(description="The path to the part: names of fields, and indices of lists.")
    msg: str = Field(description="What is wrong with it.")


class Problem(BaseModel):
    """An error in the format of RFC 9457."""

    type: Literal["about:blank"] = Field(description="Always `about:blank`: `status` says it all.")
    title: str = Field(description="What kind of error it is.", examples=["Overloaded"])
    status: int = Field(description="The status of the response.", examples=[429])
    detail: str = Field(description="What is wrong with this request.")
    request_id: str = Field(description="The id of the request, as in `X-Request-ID` and in the server's log.")
    trace_id: str | None = Field(None, description="The id of the request's trace, if the server traces requests.")
    errors: list[FieldError] | None = Field(None, description="Only with status 422: each invalid part of the request.")
