"""A job whose texts are in its body, which may be a million short ones."""

from codecs import BOM_UTF8
from collections.abc import Sequence

import orjson
from pydantic import ValidationError

from ..errors import InvalidInput
from ..jobs import Upload
from ..types import Text
from .form import Form
from .invalid import BodyInvalid
from .job_schemas import InferenceJob
from .parser import BodyParser
from .request import validate

_PIECE_BYTES = 256 * 1024


def body_parser(max_bytes: int) -> BodyParser:
    """Return a parser of large bodies. Only the size of the whole body limits the texts."""
    form = Form(
        InferenceJob.model_fields.keys(),
        max_bytes,
        list_field="texts",
        max_texts=max_bytes,
        small_fields=("source", "options"),
    )
    return BodyParser(form)


def validate_job(content: bytes | BodyParser) -> tuple[InferenceJob, Sequence[Text] | None]:
    """Return what a body says, and its texts. Raises `BodyInvalid` and `InvalidInput`.

    To be called in a thread: pydantic, which would stop all threads, gets only the first of many texts.
    """
    if isinstance(content, bytes):
        try:
            job = InferenceJob.model_validate_json(content.removeprefix(BOM_UTF8))
        except ValidationError as error:
            raise BodyInvalid.from_pydantic(error, InferenceJob.model_fields) from None
        return job, job.texts
    value = content.value
    texts = value.get("texts") if isinstance(value, dict) else None
    if not isinstance(texts, list):
        return validate(InferenceJob, value), None
    job = validate(InferenceJob, value | {"texts": texts[:1]})
    for index, text in enumerate(texts):
        if isinstance(text, InvalidInput):
            raise InvalidInput(str(text), ("body", "texts", index))
        if not isinstance(text, Text):
            raise InvalidInput("the text is not a string", ("body", "texts", index))
    return job, texts


def write_lines(texts: Sequence[Text], upload: Upload) -> None:
    """Write texts as JSON lines."""
    lines = bytearray()
    for text in texts:
        lines += orjson.dumps({"text": text if isinstance(text, str) else text.decode()}) + b"\n"
        if len(lines) >= _PIECE_BYTES:
            upload.write(bytes(lines))
            lines.clear()
    upload.write(bytes(lines))
