"""The policy of `predict_many`: how long lists are, which are split, and where errors go. No I/O."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .errors import DeadlineExceeded, InvalidRequest, InvalidText, SentimentError, TextTooLong, UnexpectedResponse
from .lists import ListFormer, TextList
from .messages import Options
from .retry import Deadline
from .types import Limits, Prediction

Result = Prediction | SentimentError
OnError = Literal["raise", "return"]

# The most bytes of a list. Servers and proxies allow 4 MiB by default.
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ManyOptions:
    """The arguments of `predict_many`, checked."""

    options: Options
    on_error: OnError
    list_size: int
    concurrency: int
    timeout_s: float
    request_id: str

    def __post_init__(self) -> None:
        check_on_error(self.on_error)
        if self.list_size < 1:
            raise ValueError("list_size must be at least 1")
        if self.concurrency < 1:
            raise ValueError("concurrency must be at least 1")

    @property
    def lookahead(self) -> int:
        """The number of lists that are sent, or ready, before the first of them is delivered."""
        return 2 * self.concurrency

    def former(self, limits: Limits | None) -> ListFormer:
        """Return what forms lists for a server with these limits, None if they are not known."""
        if limits is None:
            return ListFormer(self.list_size, _MAX_BYTES)
        return ListFormer(min(self.list_size, limits.max_batch_texts), min(_MAX_BYTES, limits.max_body_bytes))

    def request_id_of(self, texts: TextList) -> str:
        return f"{self.request_id}-{texts.first}"


def check_texts(texts: object) -> None:
    """Raise `TypeError` for a single text, which would be taken for an iterable of its characters."""
    if isinstance(texts, str | bytes):
        raise TypeError("texts must be an iterable of texts, not a single text")


def check_on_error(on_error: str) -> None:
    if on_error not in {"raise", "return"}:
        raise ValueError('on_error must be "raise" or "return"')


def should_split(texts: TextList, error: SentimentError, deadline: Deadline) -> bool:
    """Whether the halves of a list that has failed may succeed."""
    too_much = isinstance(error, TextTooLong | DeadlineExceeded)
    return too_much and len(texts) > 1 and deadline.left_s() > 0


def in_each_place(texts: TextList, error: SentimentError) -> list[Result]:
    """Return the error of a list for each of its texts; raise it if it would be the same for every list."""
    if isinstance(error, UnexpectedResponse) or (
        isinstance(error, InvalidRequest) and not isinstance(error, InvalidText)
    ):
        raise error
    return [error.at(texts.first + number) for number in range(len(texts))]


def deliver(results: list[Result], on_error: OnError) -> Iterator[Result]:
    """Yield results; raise the first error if that is wanted."""
    for result in results:
        if isinstance(result, SentimentError) and on_error == "raise":
            raise result
        yield result
