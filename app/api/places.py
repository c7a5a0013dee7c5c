"""The places of a stream: for each line what will be its answer. Pure, except that it waits for the model."""

from dataclasses import dataclass
from typing import Any

import orjson

from ..errors import SentimentError
from ..serving import Answer, Pending
from ..types import Prediction
from .errors import failure_of
from .invalid import BodyInvalid

_OVERHEAD_BYTES = 64  # of an object, however short its line is
Outcome = Prediction | SentimentError | BodyInvalid


@dataclass(slots=True)
class Place:
    """A line whose answer has not been sent: its id as JSON, the memory that it takes, and its outcome."""

    id: bytes
    size: int
    outcome: Pending | Outcome

    @property
    def is_done(self) -> bool:
        """Whether `result` returns without waiting."""
        return not isinstance(self.outcome, Pending) or self.outcome.is_done

    async def result(self) -> Outcome:
        """Return a prediction, or why there is none."""
        if not isinstance(self.outcome, Pending):
            return self.outcome
        try:
            return outcome_of(await self.outcome.result())
        except SentimentError as error:
            return error

    def leave(self) -> None:
        """Stop waiting for the model."""
        if isinstance(self.outcome, Pending):
            self.outcome.leave()


def memory_of(line: bytes | None) -> int:
    """Return about how much memory a line takes until it is answered."""
    return len(line or b"") + _OVERHEAD_BYTES


def outcome_of(answer: Answer) -> Outcome:
    """Return the outcome of the only text of a query."""
    return answer.results[0]


def render_id(value: object) -> bytes:
    """Return the id of a line as JSON."""
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer of more than 64 bits
        return str(value).encode()


def render(place: Place, outcome: Outcome, top_k: int | None) -> tuple[int, bytes]:
    """Return the status of an answer, and its line."""
    if isinstance(outcome, Prediction):
        return 200, _line(place.id, outcome.render(top_k))
    status, detail = failure_of(outcome)
    return status, _line(place.id, {"error": {"status": status, "detail": detail}})


def render_end(status: int, detail: str) -> bytes:
    """Return the last line of a stream that the server ends. Only this one has no id."""
    return orjson.dumps({"error": {"status": status, "detail": detail}}) + b"\n"


def _line(id_: bytes, content: dict[str, Any]) -> bytes:
    return b'{"id":%b,%b\n' % (id_, orjson.dumps(content)[1:])
