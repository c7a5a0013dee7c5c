"""The result of a job: the parts of its rows as one stream in the format that the caller wants, or a trained model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..errors import InvalidInput, TableOptionError
from ..tables import Result, Rows, decode_part, encoder_for, stream_rows
from .job import Job
from .request import InferenceRequest
from .store import Store

MEDIA_TYPES = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "tar": "application/x-tar",  # of a training, which has no other
}
_PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class ResultFile:
    """The bytes of a result, and what they are called."""

    pieces: Iterator[bytes]
    media_type: str
    file_name: str


def input_path(job_id: str) -> str:
    return f"{job_id}/input"


def part_path(job_id: str, generation: int, number: int) -> str:
    return f"{job_id}/parts-{generation}/{number:06d}"


def archive_path(job_id: str) -> str:
    return f"{job_id}/model.tar"


def open_result(job: Job, store: Store, target: str | None) -> ResultFile:
    """Return the result of a completed job. Raises `InvalidInput` if the format cannot hold it."""
    default = "tar" if job.type == "training" else "ndjson"
    target = target or default
    if (target == "tar") != (default == "tar"):
        why = "the result of a training is a model, which is always tar"
        why = why if job.type == "training" else "rows are ndjson, csv, tsv or parquet; only a model is tar"
        raise InvalidInput(why, ("query", "format"))
    if job.type == "training":
        name = f"{job.request['name']}.tar"
        return ResultFile(_read(store.open(archive_path(job.id))), MEDIA_TYPES[target], name)
    return ResultFile(_rows(job, store, target), MEDIA_TYPES[target], f"{job.id}.{target}")


def _read(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while piece := stream.read(_PIECE_BYTES):
            yield piece


def _rows(job: Job, store: Store, target: str) -> Iterator[bytes]:
    request = InferenceRequest.from_dict(job.request)
    state: Any = job.checkpoint
    source = request.source(lambda: store.open(input_path(job.id)))
    names, labels = state["names"] or [], state["labels"]

    def parts() -> Iterator[tuple[Rows, list[Result]]]:
        for number in range(state["parts"]):
            with store.open(part_path(job.id, state["generation"], number)) as stream:
                yield decode_part(stream.read(), source, names)

    schema = None
    if source.format == "parquet" and state["parts"]:
        schema = next(parts())[0].schema
    format_ = "jsonl" if target == "ndjson" else target
    try:
        encoder = encoder_for(format_, source, names, request.columns.added, labels, schema=schema)
    except TableOptionError as error:
        raise InvalidInput(str(error), ("query", "format")) from None
    return stream_rows(encoder, parts())
