"""Requests that send a job. No I/O but that of the file that is uploaded."""

import json
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, BinaryIO, ClassVar, Literal

from .forms import FileRows, Form, StreamRows, TextRows
from .messages import LongText, Message

FileFormat = Literal["csv", "tsv", "jsonl", "parquet", "lines"]
TableFormat = Literal["csv", "tsv", "jsonl", "parquet"]
Priority = Literal["high", "normal", "low"]
TrainingPriority = Literal["high", "normal"]
Preset = Literal["auto", "sentiment", "topics", "quick", "thorough"]
OnBadRow = Literal["error", "keep"]
File = str | os.PathLike[str] | BinaryIO

_MAX_KEY_CHARS = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending(ABC):
    """What all jobs have. None and False leave the choice to the server."""

    path: ClassVar[str]

    request_id: str
    file: File | None = None
    source: str | None = None
    file_name: str | None = None  # of a file that has none of its own
    format: FileFormat | None = None
    text_column: str | int | None = None
    encoding: str | None = None
    delimiter: str | None = None
    priority: Priority | None = None
    run_at: datetime | str | None = None
    every: timedelta | str | None = None
    idempotency_key: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.run_at, datetime) and self.run_at.tzinfo is None:
            raise ValueError("run_at must have a time zone")
        key = self.idempotency_key
        if key is not None and (not key.isascii() or not key.isprintable() or not 1 <= len(key) <= _MAX_KEY_CHARS):
            raise ValueError(f"idempotency_key must consist of 1 to {_MAX_KEY_CHARS} visible ASCII characters")

    @property
    @abstractmethod
    def layout(self) -> dict[str, Any]:
        """How the file is laid out."""

    @property
    @abstractmethod
    def options(self) -> dict[str, Any]:
        """What is done with it."""

    def form(self) -> Form | None:
        """Return what is uploaded; None if the worker reads the rows itself."""
        if self.source is not None:
            return None
        fields = {name: _field(value) for name, value in (self.layout | self.options | self.schedule).items()}
        return Form(self.rows(), fields)

    def rows(self) -> FileRows | StreamRows | TextRows:
        """Return the upload."""
        assert self.file is not None
        if isinstance(self.file, str | os.PathLike):
            return FileRows(self.file, self.file_name)
        return StreamRows(self.file, self.file_name)

    def message(self, form: Form | None) -> Message:
        """Return the request. All its attempts have the same key, so that they make one job."""
        headers = {"idempotency-key": self.idempotency_key or uuid.uuid4().hex}
        if form:
            return Message("POST", self.path, self.request_id, more_headers=headers | form.headers)
        content = {"source": {"url": self.source} | self.layout} | self.content | self.schedule
        return Message("POST", self.path, self.request_id, json.dumps(content).encode(), more_headers=headers)

    @property
    def content(self) -> dict[str, Any]:
        """The options as they are in JSON."""
        return self.options

    @property
    def schedule(self) -> dict[str, Any]:
        given = self.given("priority", "run_at", "every")
        if isinstance(self.run_at, datetime):
            given["run_at"] = self.run_at.isoformat()
        if isinstance(self.every, timedelta):
            given["every"] = f"PT{self.every.total_seconds():.6f}S"
        return given

    def given(self, *names: str) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None and value is not False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission(Sending):
    """The arguments of `submit`, checked."""

    path = "/jobs/inference"

    texts: Iterable[str] | None = None
    no_header: bool = False
    no_quotes: bool = False
    on_bad_row: OnBadRow | None = None
    prefix: str | None = None
    long_text: LongText | None = None

    def __post_init__(self) -> None:
        Sending.__post_init__(self)
        if sum(each is not None for each in (self.texts, self.file, self.source)) != 1:
            raise ValueError("submit needs one of texts, file and source")

    def rows(self) -> FileRows | StreamRows | TextRows:
        return Sending.rows(self) if self.texts is None else TextRows(self.texts)

    @property
    def layout(self) -> dict[str, Any]:
        names = ("format", "text_column", "encoding", "delimiter", "no_header", "no_quotes")
        return _with_texts(self.given(*names), "text_column")

    @property
    def options(self) -> dict[str, Any]:
        return self.given("on_bad_row", "prefix", "long_text")

    @property
    def content(self) -> dict[str, Any]:
        return {"options": self.options}


@dataclass(frozen=True, slots=True, kw_only=True)
class Training(Sending):
    """The arguments of `train`, checked."""

    path = "/jobs/training"

    name: str
    label_column: str | int | None = None
    map: str | None = None
    quotes: bool | None = None
    drop_bad_rows: bool = False
    base: str | None = None
    preset: Preset | None = None
    recipe: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        Sending.__post_init__(self)
        if (self.file is None) == (self.source is None):
            raise ValueError("train needs either file or source")
        if not self.name:  # an empty field of a form is an absent one
            raise ValueError("train needs the name of the new model")

    @property
    def layout(self) -> dict[str, Any]:
        names = ("format", "text_column", "label_column", "map", "encoding", "delimiter", "drop_bad_rows")
        given = _with_texts(self.given(*names), "text_column", "label_column")
        return given if self.quotes is None else given | {"quotes": self.quotes}

    @property
    def options(self) -> dict[str, Any]:
        given = self.content
        return given | {"recipe": json.dumps(given["recipe"])} if "recipe" in given else given

    @property
    def content(self) -> dict[str, Any]:
        given = self.given("name", "base", "preset", "recipe")
        return given | {"recipe": dict(given["recipe"])} if "recipe" in given else given


def _with_texts(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the numbers of columns as JSON has them."""
    return values | {name: str(values[name]) for name in names if name in values}


def _field(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
