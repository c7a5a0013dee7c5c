"""An inference job: from its source to the parts of its result."""

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, BinaryIO

from ..tables import Scorer, encode_part, open_reader, scan, score_windows, skip_rows
from ..types import LongText
from .download import download
from .lease import Lease
from .options import JobOptions
from .request import InferenceRequest
from .results import input_path, part_path
from .sources import check_url, is_download, open_url
from .store import Store

_MAX_NAME_CHARS = 64 * 1024  # they are in Redis, and written with each change of the job

LoadScorer = Callable[[LongText], Scorer]


@dataclass(frozen=True, slots=True)
class _State:
    """How far a job is: the first `rows` rows are in `parts` parts. All are from one model, or the job begins again."""

    made_by: dict[str, Any]
    generation: int
    labels: Sequence[str]
    names: Sequence[str] | None
    parts: int = 0
    rows: int = 0
    errors: int = 0
    digest: str = ""  # of the input up to the last of these rows


def score_job(lease: Lease, store: Store, load_scorer: LoadScorer, options: JobOptions) -> dict[str, Any]:
    """Score all rows that are not in the result yet, and return what the job's owner sees as its result."""
    job = lease.job
    request = InferenceRequest.from_dict(job.request)
    total, known = job.total, job.checkpoint
    if total is None and request.url and is_download(request.url):
        check_url(request.url, options.job_sources)
        _fetch(request.url, store, job.id, lease, options.max_input_bytes)
    source = request.source(_opener(request, job.id, store, options.job_sources), lease.check)
    if total is None:  # a first look at all rows, so that a bad one is reported now and not after hours
        found = scan(source, request.columns, _MAX_NAME_CHARS)
        total, known = found.rows, {"names": found.names}
    lease.check()
    scorer = load_scorer(request.long_text)
    lease.on_stop = scorer.cancel
    lease.check()
    state = _begin(known, scorer)
    lease.advance(state.rows, total, asdict(state))
    with open_reader(source, request.columns) as reader:
        windows = reader.windows(scorer.window)
        skip_rows(windows, state.rows, state.digest, source)
        try:
            with closing(score_windows(windows, scorer)) as scored:
                for rows, results in scored:
                    lease.check()
                    data = encode_part(rows, results, state.names or (), scorer.labels)
                    store.write(part_path(job.id, state.generation, state.parts), data)
                    state = replace(
                        state,
                        parts=state.parts + 1,
                        rows=rows.last,
                        errors=state.errors + sum(isinstance(result, str) for result in results),
                        digest=rows.digest,
                    )
                    lease.advance(state.rows, total, asdict(state))
        except CancelledError:  # what `scorer.cancel` causes
            lease.check()
            raise
    return {"rows": state.rows, "errors": state.errors, "model": state.made_by["model"]}


def _begin(known: Any, scorer: Scorer) -> _State:
    """Return the state from which the job goes on."""
    made_by = {**scorer.description, "window": [scorer.window.rows, scorer.window.chars]}
    if known.get("made_by") == made_by:
        return _State(**known)
    generation = known.get("generation", -1) + 1
    return _State(made_by, generation, [*scorer.labels], known["names"])


def _fetch(url: str, store: Store, job_id: str, lease: Lease, max_bytes: int) -> None:
    """Copy a source to the store, so that it is the same whenever it is read."""
    with store.writer(input_path(job_id)) as stream:
        for piece in download(url, max_bytes):
            lease.check()
            stream.write(piece)


def _opener(request: InferenceRequest, job_id: str, store: Store, allowed: Sequence[str]) -> Callable[[], BinaryIO]:
    if request.url is None or is_download(request.url):
        return partial(store.open, input_path(job_id))
    return partial(open_url, request.url, allowed)
