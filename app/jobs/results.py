"""The result of an inference job: its parts in the store, as one stream in the format that the caller wants."""

from collections.abc import Iterator
from typing import Any

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
}


def input_path(job_id: str) -> str:
    return f"{job_id}/input"


def part_path(job_id: str, generation: int, number: int) -> str:
    return f"{job_id}/parts-{generation}/{number:06d}"


def stream_result(job: Job, store: Store, target: str) -> Iterator[bytes]:
    """Return the bytes of the result of a completed job. Raises `InvalidInput` if the format cannot hold it."""
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
