"""The JSON of training jobs, as documented in OpenAPI."""

import json
import re
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from ..jobs import MODEL_NAME, TrainingRequest, why_no_name
from .job_schemas import STRICT, Name, Schedule, Short, UrlOfSource

# Those of `training.fit.Recipe`, without the one that needs several files. Workers check their values.
SETTINGS = frozenset((
    "average", "batch_size", "class_weights", "dropout", "epochs", "evaluations", "gold", "head_first", "head_rate",
    "keep", "keep_labels", "label_smoothing", "layer_decay", "learning_rate", "max_activation", "max_tokens",
    "patience", "seed", "train_embeddings", "trainings", "warmup", "weight_decay",
))  # fmt: skip
_NAME_OF_SETTING = re.compile(r"[a-z_]{1,32}")  # what is none may be a text, and is not repeated in an error
_MAX_NUMBER = 2**53  # beyond, JSON has no exact integers


def _check_name(name: str, *, is_new: bool = False) -> str:
    if why := why_no_name(name, is_new=is_new):
        raise PydanticCustomError("model_name", "{why}", {"why": why})
    return name


_AsPattern = Field(json_schema_extra={"pattern": f"^{MODEL_NAME}$"})
ModelName = Annotated[str, AfterValidator(_check_name), _AsPattern]
NewName = Annotated[str, AfterValidator(partial(_check_name, is_new=True)), _AsPattern]


def _check_recipe(value: object) -> object:
    """Refuse what no recipe has. The error names the setting, and not its value."""
    if not isinstance(value, dict):
        raise PydanticCustomError("recipe", 'expected settings and their values, such as {"epochs": 4}')
    for name, setting in value.items():
        if name not in SETTINGS:
            known = f" {name}" if _NAME_OF_SETTING.fullmatch(str(name)) else ""
            similar = get_close_matches(known.strip(), SETTINGS, 1)
            hint = f"did you mean {similar[0]}?" if similar else f"expected {', '.join(sorted(SETTINGS))}"
            raise PydanticCustomError("recipe", "unknown setting{name}; {hint}", {"name": known, "hint": hint})
        if not (_is_number(setting) or setting in ("best", "last")):
            why = '{name}: expected a number, true or false, or for keep "best" or "last"'
            raise PydanticCustomError("recipe", why, {"name": name})
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

    name: NewName = Field(description="Name of the new model.", examples=["stars"])
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
