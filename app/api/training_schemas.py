"""The JSON of training jobs, as documented in OpenAPI."""

import json
import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from ..jobs import TrainingRequest
from .job_schemas import STRICT, Name, Schedule, Short, UrlOfSource

_MAX_SETTINGS = 40
_SETTING = re.compile(r"[a-z_]{1,32}")
_MAX_NUMBER = 2**53  # beyond, JSON has no exact integers

ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]


def _check_recipe(value: object) -> object:
    """Refuse what no recipe has. The error has no name of a setting, because the client may have put a text there."""
    if not (
        isinstance(value, dict)
        and len(value) <= _MAX_SETTINGS
        and all(_SETTING.fullmatch(str(name)) for name in value)
        and all(_is_number(each) or each in ("best", "last") for each in value.values())
    ):
        raise PydanticCustomError("recipe", 'expected settings and their values, such as {"epochs": 4}')
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float) and abs(value) <= _MAX_NUMBER  # which NaN is not


def _parse_recipe(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        raise PydanticCustomError("recipe", "expected a JSON object") from None


Recipe = Annotated[dict[str, bool | int | float | str], BeforeValidator(_check_recipe)]


class TrainingLayout(BaseModel):
    """How a file of labelled rows is laid out. The fields mean the same as the flags of `rt-sentiment train`."""

    model_config = STRICT

    format: Annotated[Literal["csv", "tsv", "jsonl", "parquet"], Field(title="TrainingFormat")] | None = Field(
        None, description="Needed if the name of the file does not say it. A name that ends in `.gz` means gzip."
    )
    text_column: Name | None = Field(
        None, description="Name of the column or field of the text, or its number from 1. Guessed if it is clear."
    )
    label_column: Name | None = Field(None, description="The same for the label.")
    map: Annotated[str, StringConstraints(max_length=2048)] = Field(
        "",
        description="Other names for labels; `other=keep`, `other=drop` or `other=NAME` for those that are not listed.",
        examples=["1:negative,5:positive,other=drop"],
    )
    encoding: Short = Field("", description="UTF-8 or by the byte order mark, if empty.")
    delimiter: Short = Field("", description="Separator of the cells of CSV and TSV.")
    quotes: bool | None = Field(
        None, description="Whether quotes around cells have a meaning: in CSV they have, if nothing is said."
    )
    drop_bad_rows: bool = Field(False, description="Leave out rows that cannot be used. Otherwise, they fail the job.")


class TrainingSource(TrainingLayout):
    """A file of labelled rows that the worker reads."""

    url: UrlOfSource


class TrainingSchedule(Schedule):
    """When a training begins."""

    model_config = STRICT

    priority: Annotated[Literal["high", "normal"], Field(title="TrainingPriority")] = Field(
        "normal", description="Trainings begin in the order in which they came; one with `high` before those that wait."
    )


class TrainingOptions(BaseModel):
    """What to train, and how."""

    model_config = STRICT

    name: ModelName = Field(description="Name of the new model.", examples=["stars"])
    base: ModelName | None = Field(
        None,
        description="What to start from: `sentiment-en`, `encoder`, or the name of a folder in SENTIMENT_JOB_BASES. "
        "Chosen from the labels, if absent.",
        examples=["sentiment-en"],
    )
    preset: Annotated[Literal["auto", "sentiment", "topics", "quick", "thorough"], Field(title="TrainingPreset")] = (
        Field("auto", description="How to choose the settings that the recipe does not have.")
    )


class TrainingJob(TrainingOptions, TrainingSchedule):
    """A model to train while nobody waits."""

    model_config = STRICT

    source: TrainingSource = Field(description="The rows to train on. A part of them is set aside to measure on.")
    recipe: Recipe = Field(
        default_factory=dict,
        description="Settings of the training; those that are absent are chosen from the data.",
        examples=[{"epochs": 4, "learning_rate": 0.0001}],
    )

    def request(self) -> TrainingRequest:
        """Return what the worker gets."""
        file = self.source.url.rpartition("/")[2] or "source"
        options = self.model_dump(include={*TrainingOptions.model_fields, "recipe"})
        return TrainingRequest(file=file, **self.source.model_dump(), **options)


class TrainingUpload(TrainingOptions, TrainingLayout, TrainingSchedule):
    """The fields of a form, beside its file."""

    model_config = STRICT

    recipe: Annotated[Recipe, BeforeValidator(_parse_recipe)] = Field(
        default_factory=dict, description="Settings of the training, as a JSON object.", examples=[{"epochs": 4}]
    )

    @model_validator(mode="after")
    def _is_sent_once(self) -> Self:
        if self.every:
            raise PydanticCustomError("every", "every needs a source: an upload does not change")
        return self

    def request(self, name: str) -> TrainingRequest:
        """Return what the worker gets; `name` is that of the file."""
        return TrainingRequest(file=name, **self.model_dump(exclude={*Schedule.model_fields}))


class TrainingForm(TrainingUpload):
    """A form with the file of labelled rows."""

    file: bytes = Field(description="The file. Send it last.")
