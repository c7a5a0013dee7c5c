"""What the methods of a client return."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

JobState = Literal["pending", "running", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The sentiment of a text.

    `label` is the most likely class, None if the server answers without one when it is not sure enough. `confidence` is
    the probability of that class, and `scores` has that of every class. `truncated` is true if the end of
    the text was ignored because the model does not read texts of this length. `model` is `name@version`, None if the
    server does not say.

    `request_id` and `index` are the id of its request and the place of its text in that request, for `feedback`. The id
    is None for predictions of streams and jobs, for which there is no feedback.
    """

    label: str | None
    confidence: float
    scores: Mapping[str, float]
    truncated: bool = False
    model: str | None = None
    request_id: str | None = field(default=None, compare=False, kw_only=True)
    index: int = field(default=0, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class WordWeight:
    """How much a word, `text[start:end]`, speaks for the label; against it if `weight` is negative."""

    start: int
    end: int
    weight: float


@dataclass(frozen=True, slots=True)
class ExplainedPrediction(Prediction):
    """A prediction with the weight of each word of its text, in their order."""

    explanation: tuple[WordWeight, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a server."""

    max_text_chars: int
    max_batch_texts: int
    max_body_bytes: int
    request_timeout_ms: float


@dataclass(frozen=True, slots=True)
class Info:
    """The model of a server, and its limits."""

    model: str
    model_version: str
    labels: tuple[str, ...]
    max_tokens: int
    limits: Limits


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """A job that the server has stored. It is `pending`, unless the same one was sent before."""

    id: str
    status: JobState


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, in rows, or in steps of a training.

    `total` is None until the job has looked through its source, and `eta_s`, the estimated seconds until its end, while
    it does not run.
    """

    done: int
    total: int | None
    per_s: float
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Job:
    """The state of a job. Times are in UTC.

    `attempts` is how often a worker has begun it. `error` says why the last attempt failed. `result` is a summary of a
    completed job, and `metadata` has the name of its file, its priority and its schedule.
    """

    id: str
    type: str
    status: JobState
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: Progress
    attempts: int
    result: Mapping[str, Any] | None
    error: str | None
    metadata: Mapping[str, Any]

    @property
    def is_over(self) -> bool:
        """Whether the status is final: completed, failed or cancelled."""
        return self.status in {"completed", "failed", "cancelled"}


@dataclass(frozen=True, slots=True)
class JobRow:
    """A row of a result: the columns of the source, and the prediction, or the error in its place."""

    columns: Mapping[str, Any]
    prediction: Prediction | None
    error: str | None = None
