"""The JSON that describes models and their versions, as documented in OpenAPI."""

from typing import Literal

from pydantic import BaseModel, Field, RootModel

from ..serving import GoldenResult


class GoldenTexts(BaseModel):
    """How many golden texts got the answer that the version was published with, when they were last checked."""

    texts: int = Field(description="Golden texts of the version.", examples=[48])
    agreeing: int = Field(description="Of these, those with the published answer.", examples=[48])
    agreement: float = Field(description="The part of them that agrees, from 0 to 1.", examples=[1.0])

    @classmethod
    def of(cls, result: GoldenResult | None) -> "GoldenTexts | None":
        """Describe the result of a check, if there was one."""
        if result is None:
            return None
        return cls(texts=result.texts, agreeing=result.agreeing, agreement=round(result.agreement, 4))


class Confidences(BaseModel):
    """How sure the version was of its labels."""

    edges: list[float] = Field(description="Each is the lowest confidence of the bin after it.", examples=[[0.5, 0.9]])
    counts: list[int] = Field(description="Predictions in each bin: one more bin than edges.", examples=[[3, 40, 900]])


class Latency(BaseModel):
    """Time from a request to its answer in milliseconds, over the newest requests."""

    p50: float = Field(description="Half of the requests took no longer.", examples=[2.9])
    p95: float = Field(description="95 % of the requests took no longer.", examples=[6.1])
    p99: float = Field(description="99 % of the requests took no longer.", examples=[9.8])


class LabelCounts(RootModel[dict[str, int]]):
    """Predictions by their label."""


class FeedbackCounts(RootModel[dict[str, LabelCounts]]):
    """For each predicted label, how often people said that each label is right."""


class ShadowComparison(BaseModel):
    """How the answers of a shadow compare with those that callers got."""

    texts: int = Field(description="Texts that both have answered.", examples=[5000])
    agreeing: int = Field(description="Of these, those with the same label.", examples=[4921])
    mean_difference: float = Field(description="Mean difference of the score of the label.", examples=[0.014])
    p95_difference: float = Field(description="95 % of the differences are no larger.", examples=[0.06])


class DriftScores(BaseModel):
    """How far answers are from those to the development texts: population stability indices; over 0.25 is much."""

    labels: float = Field(description="Of the mix of labels.", examples=[0.03])
    confidence: float = Field(description="Of the confidence.", examples=[0.05])
    tokens: float = Field(description="Of the length of texts.", examples=[0.11])


class VersionStatus(BaseModel):
    """A version of a model in the process that answers. Counts are since it was loaded there."""

    version: str | None = Field(description="`name@version`, as in `X-Model`; null if it is not loaded.")
    source: str = Field(description="Where it comes from.", examples=["models/sentiment-en"])
    state: Literal["loading", "ready", "failed", "draining"] = Field(description="Whether it can answer.")
    reason: str = Field(description="Why the state is not `ready`; empty if it is.", examples=[""])
    weight: float = Field(description="Its weight in the models file.", examples=[90.0])
    share: float = Field(description="The part of the callers that it answers now, from 0 to 1.", examples=[0.9])
    shadow: bool = Field(description="Whether it only sees texts, and answers nobody.")
    checksum: str | None = Field(description="SHA-256 of its weights.")
    manifest: str | None = Field(description="SHA-256 of its manifest.")
    labels: list[str] = Field(description="Its classes.", examples=[["negative", "neutral", "positive"]])
    backend: str | None = Field(description="What runs it.", examples=["onnx"])
    precision: str | None = Field(description="In which numbers it computes.", examples=["int8"])
    golden: GoldenTexts | None = Field(description="Its golden texts; null if it has none.")
    requests: int = Field(description="Requests that it has answered.", examples=[1200])
    errors: int = Field(description="Of these, those that failed for a reason of the server's.", examples=[0])
    predictions: LabelCounts = Field(description="Texts by the label that it gave.")
    confidence: Confidences | None = Field(description="The confidence of these; null before it is loaded.")
    latency_ms: Latency | None = Field(description="How long its newest requests took; null before the first.")
    drift: DriftScores | None = Field(description="Null until enough texts were seen, or if it has no figures.")
    compared: ShadowComparison | None = Field(description="Of a shadow: its answers and those that callers got.")
    feedback: FeedbackCounts = Field(description="What people said about its labels; empty without feedback.")


class ModelStatus(BaseModel):
    """A model and its versions."""

    name: str = Field(description="What requests call it.", examples=["sentiment-en"])
    default: bool = Field(description="Whether it answers requests that name no model.")
    ready: bool = Field(description="Whether a version can answer.")
    versions: list[VersionStatus] = Field(description="Its versions, also those that failed.")


class ModelList(BaseModel):
    """All models, in the order of the models file."""

    models: list[ModelStatus] = Field(description="The models.")
