"""A body with the texts of a job."""

import json
from typing import Any

import pytest

from app.api import job_texts
from app.api.invalid import BodyInvalid
from app.api.job_schemas import InferenceJob
from app.api.job_texts import body_parser, validate_job
from app.errors import InvalidInput

MAX_BYTES = 1024 * 1024


def read(body: Any) -> tuple[InferenceJob, list[str] | None]:
    parser = body_parser(MAX_BYTES)
    parser.feed(body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode(), is_last=True)
    job, texts = validate_job(parser)
    return job, None if texts is None else [text if isinstance(text, str) else text.decode() for text in texts]


def test_texts_and_options_of_a_large_body_are_kept() -> None:
    texts = ["good", "", "é😀", "long " * 10_000, *["x"] * 1000]
    job, read_texts = read({"texts": texts, "options": {"prefix": "p_"}, "priority": "high"})
    assert read_texts == texts
    assert (job.options.prefix, job.priority) == ("p_", "high")


def test_a_large_body_may_name_a_source() -> None:
    job, texts = read({"source": {"url": "file:///data/a.csv"}, "every": "PT1H"})
    assert texts is None
    assert job.source is not None
    assert job.source.url == "file:///data/a.csv"


def test_pydantic_gets_one_text_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """It parses without letting go of the interpreter, so a million texts would stop the event loop for long."""
    seen: list[int] = []

    def validate(model: type[InferenceJob], value: dict[str, Any]) -> InferenceJob:
        seen.append(len(value["texts"]))
        return model.model_validate(value)

    monkeypatch.setattr(job_texts, "validate", validate)
    read({"texts": ["a"] * 1000})
    assert seen == [1]


@pytest.mark.parametrize(
    "body",
    [
        {"texts": []},
        {"texts": [5]},
        {"texts": 5},
        {"text": ["a"]},
        {"texts": ["a"], "source": {"url": "file:///a"}},
        {"texts": ["a"], "every": "PT1H"},
        [],
    ],
)
def test_a_large_body_that_is_not_valid_is_refused(body: Any) -> None:
    with pytest.raises(BodyInvalid):
        read(body)


@pytest.mark.parametrize("text", [b"5", b"[]", b'"\\ud800"'])
def test_a_text_that_is_none_is_named(text: bytes) -> None:
    with pytest.raises((InvalidInput, BodyInvalid)):
        read(b'{"texts":["a",%b]}' % text)
