"""Files of rows through a pool of models, with Ray Data: read in tasks, score in actors, in the order of the rows.

The readers, the scorer and the encoders are those of `rt-sentiment score`, so the output is the same. What travels
between the processes is one window of rows at a time. A task or an actor that is lost runs again, with its window.
"""

import logging
import pickle
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray.data
from ray.data import ActorPoolStrategy, DataContext

from app.cli.scorer import load_scorer
from app.config import Settings
from app.errors import SentimentError
from app.tables import Columns, Encoder, Window, encoder_for, open_reader, scan, score_rows
from app.types import LongText
from deploy.ray.files import StoredSource

# A window is lost with the process that runs it. After so many times it is the window that kills them.
_MAX_RETRIES = 5
# Blocks of about one window each: they are what waits between the processes, and what runs again.
_BLOCK_BYTES = 256 * 1024
_WINDOW = Window()


@dataclass(frozen=True, slots=True)
class Work:
    """What is done with the rows of all files."""

    sources: Sequence[StoredSource]
    columns: Columns
    format: str  # of the output
    long_text: LongText
    settings: Settings  # of the models
    actors: int
    cores: int  # of each actor


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive rows of one file as bytes of its output; the first part of a file has no rows."""

    file: int
    rows: int  # read from this file by now
    errors: int
    data: bytes
    failure: str = ""  # why nothing more comes


def run(work: Work) -> Generator[Part, None, None]:
    """Yield the parts of all files, in order. Needs a running Ray."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # otherwise it reports each run, and what is turned off here
    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.target_max_block_size = _BLOCK_BYTES
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    files = [{"file": number} for number in range(len(work.sources))]
    parts = (
        ray.data.from_items(files, override_num_blocks=len(files))
        .flat_map(_Read(work), num_cpus=0)
        .map(
            _Score,
            fn_constructor_args=(work,),
            # A pool of a fixed size, of which each actor has one window more than it runs: what is read beyond that
            # waits, so the memory does not grow with the files.
            compute=ActorPoolStrategy(size=work.actors, max_tasks_in_flight_per_actor=2),
            num_cpus=work.cores,
            # Ray starts an actor again as often as it takes, and would run a window as often, too.
            ray_remote_args_fn=lambda: {"max_task_retries": _MAX_RETRIES},
        )
    )
    for row in parts.iter_rows():
        yield pickle.loads(row["part"])  # noqa: S301 - written by `_Score`


class _Read:
    """Reads one file in windows. Reading takes a thousandth of the time of scoring, so one task reads a whole file."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __call__(self, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
        work, number = self._work, int(item["file"])
        source = work.sources[number]
        try:
            names = None
            if source.format == "jsonl" and work.format != "jsonl":  # each row has its own fields
                names = scan(source, work.columns).names
            with open_reader(source, work.columns) as reader:
                about = reader.names or names or [], reader.schema
                yield _item(number, (about, None))
                for rows in reader.windows(_WINDOW):
                    yield _item(number, (about, rows))
        except SentimentError as error:
            yield _item(number, (None, str(error)))


def _item(number: int, content: object) -> dict[str, Any]:
    return {"file": number, "content": pickle.dumps(content)}


class _Score:
    """A model in an actor."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._encoders: dict[int, Encoder] = {}
        self._failure = ""
        try:
            self._scorer = load_scorer(work.settings.model_copy(update={"slots": work.cores}), work.long_text)
        except SentimentError as error:
            self._failure = str(error)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        about, rows = pickle.loads(item["content"])  # noqa: S301 - written by `_Read`
        return {"part": pickle.dumps(self._part(int(item["file"]), about, rows))}

    def _part(self, number: int, about: Any, rows: Any) -> Part:
        if self._failure or about is None:
            return Part(number, 0, 0, b"", self._failure or rows)
        try:
            encoder = self._encoder(number, *about)
            if rows is None:
                return Part(number, 0, 0, encoder.header())
            results = score_rows(rows, self._scorer.score)
            errors = sum(isinstance(result, str) for result in results)
            return Part(number, rows.last, errors, encoder.encode(rows, results))
        except SentimentError as error:
            return Part(number, 0, 0, b"", str(error))

    def _encoder(self, number: int, names: Sequence[str], schema: Any) -> Encoder:
        if number not in self._encoders:
            work = self._work
            self._encoders[number] = encoder_for(
                work.format, work.sources[number], names, work.columns.added, self._scorer.labels, schema=schema
            )
        return self._encoders[number]
