"""The JSON that goes in and comes out, as the OpenAPI document shows it."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

# Strict: "1" is no number here. Unknown fields are refused, so that a typing error is told instead of ignored.
_STRICT = ConfigDict(strict=True, extra="forbid")

Text = Annotated[str, StringConstraints(min_length=1)]


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# 3.0 is a whole number, in JSON Schema and in what some clients send.
Count = Annotated[int, Field(ge=1), BeforeValidator(_whole)]


class Options(BaseModel):
    """What a request may say beside its texts."""

    model_config = _STRICT

    truncate: bool = Field(True, description="Cut a text that is too long for the model; if false, refuse it with 413.")
    long_text: Literal["truncate", "window"] = Field(
        "truncate",
        description="What counts of a text that is too long for the model. `truncate`: its beginning. `window`: all of "
        "it, in windows that are scored one by one and averaged by length: nothing is cut, whatever `truncate` says.",
    )
    top_k: Count | None = Field(None, description="Keep only the best k classes in `scores`.")


class PredictRequest(Options):
    """One text."""

    model_config = _STRICT | ConfigDict(
        json_schema_extra={"examples": [{"text": "An instant classic, if you ask me."}]}
    )

    text: Text = Field(description="At least one visible character; at most SENTIMENT_MAX_TEXT_CHARS (10 000).")


class BatchRequest(Options):
    """Several texts."""

    model_config = _STRICT | ConfigDict(json_schema_extra={"examples": [{"texts": ["good", "bad", "meh"]}]})

    # The first bad text is enough: a list may have a million.
    texts: list[Text] = Field(
        min_length=1, fail_fast=True, description="At most SENTIMENT_MAX_BATCH_TEXTS (256) texts."
    )


class PredictResponse(BaseModel):
    """The answer to one text."""

    label: str = Field(description="The best class.", examples=["positive"])
    confidence: float = Field(description="Its probability.", examples=[0.993])
    scores: dict[str, float] = Field(
        description="The probability of every class, in the model's order.",
        examples=[{"negative": 0.002, "neutral": 0.005, "positive": 0.993}],
    )
    truncated: bool = Field(description="Whether the text had more tokens than the model reads.", examples=[False])


class BatchResponse(BaseModel):
    """One answer per text, in the same order."""

    predictions: list[PredictResponse]


class Live(BaseModel):
    """The process runs."""

    status: Literal["ok"]


class Ready(BaseModel):
    """Whether predictions are answered."""

    status: Literal["ok", "loading", "degraded", "draining"]
    reason: str = Field(description="Why not, where the status isn't ok.", examples=[""])


class Health(Ready):
    """Readiness, with detail; what depends on the model is null while it loads."""

    backend: str | None = Field(examples=["onnx"])
    device: str | None = Field(examples=["cpu"])
    model: str | None = Field(examples=["sentiment-en"])
    version: str = Field(description="Of the service.", examples=["0.1.0"])
    uptime_s: float
    queue_depth: int = Field(description="Texts that wait for the model.")


class Limits(BaseModel):
    """What bounds a request."""

    model_config = ConfigDict(frozen=True)

    max_text_chars: int
    max_batch_texts: int
    max_body_bytes: int
    request_timeout_ms: float


class Build(BaseModel):
    """What runs."""

    version: str
    python: str
    platform: str


class Info(BaseModel):
    """The model, the limits, the build."""

    model: str
    model_version: str
    labels: list[str]
    max_tokens: int
    temperature: float = Field(
        description="What the model's logits are divided by before the softmax; 1 unless it was calibrated."
    )
    backend: str
    device: str
    precision: str
    checksum: str | None = Field(description="sha256 of the weights.")
    compared_tokens_per_s: dict[str, int] | None = Field(
        description="How fast each backend was at the start, where they were compared; the fastest answers."
    )
    limits: Limits
    build: Build


class FieldError(BaseModel):
    """What is wrong with one part of a request."""

    loc: list[str | int]
    msg: str


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = "about:blank"
    title: str = Field(examples=["Overloaded"])
    status: int = Field(examples=[429])
    detail: str
    request_id: str
    errors: list[FieldError] | None = Field(None, description="422 only: each part that is wrong.")
