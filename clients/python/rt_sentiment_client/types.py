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
    the text was ignored because the model does not read texts of this length. `shallow` is true if an overloaded
    server gave a less good answer than it would otherwise. `model` is `name@version`, None if the
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
    shallow: bool = field(default=False, kw_only=True)


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
class Agreement:
    """How many texts got the same answer as before, or elsewhere."""

    texts: int
    agreeing: int


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A version of a model in the process that answered. Counts are since it was loaded there.

    `version` is `name@version`, as `Prediction.model`; None if it is not loaded.
    `state` is `loading`, `ready`, `failed` or `draining`, and `reason` says why it is not ready.
    `weight` is that of the models file, and `share` the part of the callers that it answers now, from 0 to 1.
    `shadow`: it only sees texts, and `compared` says how often its label is that of the version that answered.
    `golden` says how many of its golden texts get the answer that it was published with.
    """

    version: str | None
    source: str
    state: str
    reason: str
    weight: float
    share: float
    shadow: bool
    checksum: str | None
    labels: tuple[str, ...]
    golden: Agreement | None
    compared: Agreement | None
    requests: int
    errors: int


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model of a server, by the `name` that calls take. The `default` one answers calls that name no model.

    It is `ready` if one of its versions can answer.
    """

    name: str
    default: bool
    ready: bool
    versions: tuple[ServedVersion, ...]


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
