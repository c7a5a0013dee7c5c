"""The JSON of background jobs, as documented in OpenAPI."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from ..jobs import InferenceRequest, JobType, Priority, Status

STRICT = ConfigDict(strict=True, extra="forbid")
_MAX_DAYS = 366
_MAX_NAME = 256  # characters of the name of a column, and the like

TableFormat = Annotated[Literal["csv", "tsv", "jsonl", "parquet", "lines"], Field(title="TableFormat")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=_MAX_NAME)]
Short = Annotated[str, StringConstraints(max_length=_MAX_NAME)]
UrlOfSource = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2048),
    Field(description="A place that SENTIMENT_JOB_SOURCES allows.", examples=["file:///data/reviews.csv"]),
]


class Layout(BaseModel):
    """How a file is laid out. The fields mean the same as the flags of `rt-sentiment score`."""

    model_config = STRICT

    format: TableFormat | None = Field(
        None, description="Needed if the name of the file does not say it. A name that ends in `.gz` means gzip."
    )
    text_column: Name | None = Field(None, description="Name of the column or field of the text, or its number from 1.")
    encoding: Short = Field("", description="UTF-8 or by the byte order mark, if empty.")
    delimiter: Short = Field("", description="Separator of the cells of CSV and TSV.")
    no_header: bool = Field(False, description="The first line of CSV and TSV is a row; columns have numbers.")
    no_quotes: bool = Field(False, description="Quotes in CSV and TSV are ordinary characters.")


class JobSource(Layout):
    """A file that the worker reads."""

    url: UrlOfSource


def _soon(time: datetime) -> datetime:
    if time > datetime.now(UTC) + timedelta(days=_MAX_DAYS):
        raise PydanticCustomError("too_late", "the time is more than a year away")
    return time


class Schedule(BaseModel):
    """When a job begins, and before which others."""

    model_config = STRICT

    priority: Priority = Field("normal", description="Jobs of a higher priority begin first.")
    run_at: Annotated[AwareDatetime, AfterValidator(_soon)] | None = Field(
        None,
        description="Begin then, with an offset from UTC. At once, if it is over.",
        examples=["2027-01-31T04:00:00Z"],
    )
    every: Annotated[timedelta, Field(ge=timedelta(minutes=1), le=timedelta(days=_MAX_DAYS))] | None = Field(
        None, description="Repeat the job: an ISO 8601 duration. Only with a `source`.", examples=["PT1H"]
    )

    def schedule(self) -> dict[str, Any]:
        """Return the parts of a `NewJob`."""
        return {
            "priority": self.priority,
            "run_at": self.run_at.timestamp() if self.run_at else None,
            "every_s": self.every.total_seconds() if self.every else None,
        }


class InferenceOptions(BaseModel):
    """What is done with the rows."""

    model_config = STRICT

    on_bad_row: Literal["error", "keep"] = Field(
        "error", description="A row that cannot be read fails the job, or is kept with its error."
    )
    prefix: Short = Field("", description="Begins the names of the new columns.")
    long_text: Literal["truncate", "window"] = Field(
        "truncate", description="Of a text that is too long for the model: read its beginning, or all of it in windows."
    )


class InferenceJob(Schedule):
    """Rows to score while nobody waits: `texts`, or the file at `source`."""

    model_config = STRICT | ConfigDict(
        json_schema_extra={
            "examples": [{"texts": ["good", "bad"]}],
            "oneOf": [{"required": ["texts"]}, {"required": ["source"]}],
        }
    )

    texts: list[str] | None = Field(
        None, min_length=1, fail_fast=True, description="At most as many as fit into a body."
    )
    source: JobSource | None = Field(None, description="The file, instead of `texts`.")
    options: InferenceOptions = Field(
        default_factory=lambda: InferenceOptions.model_validate({}), description="How the rows are scored and written."
    )

    @model_validator(mode="after")
    def _has_rows(self) -> Self:
        if (self.texts is None) == (self.source is None):
            raise PydanticCustomError("rows", "expected either texts or source")
        if self.every and self.texts:
            raise PydanticCustomError("every", "every needs a source: texts do not change")
        return self

    def request(self) -> InferenceRequest:
        """Return what the worker gets."""
        options = self.options.model_dump()
        if self.source is None:
            return InferenceRequest(name="texts", format="jsonl", **options)
        layout = self.source.model_dump()
        return InferenceRequest(name=layout["url"].rpartition("/")[2] or "source", **layout, **options)


class InferenceUpload(Layout, InferenceOptions, Schedule):
    """The fields of a form, beside its file."""

    model_config = STRICT

    @model_validator(mode="after")
    def _is_sent_once(self) -> Self:
        if self.every:
            raise PydanticCustomError("every", "every needs a source: an upload does not change")
        return self

    def request(self, name: str) -> InferenceRequest:
        """Return what the worker gets; `name` is that of the file."""
        return InferenceRequest(name=name, **self.model_dump(exclude={*Schedule.model_fields}))


def _as_form(schema: dict[str, Any]) -> None:
    """Leave out what a form cannot have: null, and a job that is repeated."""
    del schema["properties"]["every"]
    for field in schema["properties"].values():
        if kinds := field.pop("anyOf", None):
            field.update(kinds[0])
            field.pop("default", None)


class InferenceForm(InferenceUpload):
    """A form with the file that is to be scored."""

    model_config = STRICT | ConfigDict(json_schema_extra=_as_form)

    file: bytes = Field(description="The file. Send it last.")


class JobAccepted(BaseModel):
    """A new job, and where to follow it."""

    id: str = Field(description="The id of the job.")
    status: Status = Field(description="`pending`, or the current one of a job that was sent before.")
    status_url: str = Field(description="Path of its state.", examples=["/jobs/6f1d0a/status"])
    events_url: str = Field(description="Path of its live updates.", examples=["/jobs/6f1d0a/events"])
    result_url: str = Field(
        description="Path of its rows or its model, once it is completed.", examples=["/jobs/6f1d0a/result"]
    )


class JobProgress(BaseModel):
    """How far a job is: in rows, or in steps of a training."""

    done: int = Field(description="Rows that are stored, or steps that are done.")
    total: int | None = Field(description="Unknown until the job has looked through its source.")
    per_s: float = Field(description="Rows or steps per second of late.")
    eta_s: float | None = Field(description="Estimated seconds until the last row or step, while the job runs.")
    phase: Annotated[Literal["data", "train", "calibrate", "export"], Field(title="TrainingPhase")] | None = Field(
        description="What a training does, while it runs."
    )
    loss: float | None = Field(description="Loss of a training, averaged over its last steps.")


class JobStatus(BaseModel):
    """The state of a job. Times are in UTC."""

    id: str = Field(description="The id of the job.")
    type: JobType = Field(title="JobKind", description="What the job does.")
    status: Status = Field(description="The last three are final.")
    created_at: str = Field(description="When it was accepted.")
    updated_at: str = Field(description="When anything here last changed.")
    started_at: str | None = Field(description="When its first attempt began.")
    finished_at: str | None = Field(description="When it became final.")
    progress: JobProgress = Field(description="How far it is.")
    attempts: int = Field(description="How often it has begun.")
    result: Annotated[dict[str, object], Field(title="JobResult")] | None = Field(
        description="A summary, once it is completed."
    )
    error: str | None = Field(description="Why it failed.")
    metadata: dict[str, object] = Field(
        description="Name of the file or of the new model, priority, schedule, id of the request."
    )


class JobList(BaseModel):
    """Jobs, the newest first."""

    jobs: list[JobStatus] = Field(description="One page of them.")
    cursor: str | None = Field(description="For the next page; null at the end.")


class JobEvent(BaseModel):
    """A server-sent event."""

    event: Literal["status"] = Field(description="The only kind of event.")
    data: str = Field(
        description="The state of the job.",
        json_schema_extra={
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/JobStatus"},
        },
    )
    id: str = Field(description="For `Last-Event-ID`.")
    retry: int | None = Field(None, description="Milliseconds after which a client connects again.")
