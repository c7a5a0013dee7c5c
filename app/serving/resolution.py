"""Where the prediction of each text of a request comes from. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import SentimentError
from ..inference import average
from ..scheduling import WorkItem
from ..types import Encoding, Payload, Prediction
from .query import Query

Item = WorkItem[Payload, Prediction]


@dataclass(slots=True)
class Resolution:
    """The texts of a request by cache key: cached, being computed for another request, new, or without a prediction.

    A text that is read in windows has none of these itself: `windows` has the keys of its windows, which do.
    """

    keys: Sequence[bytes]  # one per text, in the order of the request
    cached: dict[bytes, Prediction] = field(default_factory=dict)
    joined: dict[bytes, Item] = field(default_factory=dict)
    new: dict[bytes, Item] = field(default_factory=dict)
    encodings: dict[bytes, Encoding] = field(default_factory=dict)  # of what had to be tokenised
    windows: dict[bytes, list[bytes]] = field(default_factory=dict)
    failed: dict[bytes, SentimentError] = field(default_factory=dict)

    @property
    def valid(self) -> Sequence[bytes]:
        """The keys of the texts that have not failed."""
        return [key for key in self.keys if key not in self.failed] if self.failed else self.keys

    @property
    def windowed(self) -> int:
        """How many texts are read in windows."""
        return sum(key in self.windows for key in self.keys) if self.windows else 0

    @property
    def items(self) -> dict[bytes, Item]:
        """What the request waits for."""
        return self.joined | self.new

    def has_result(self, key: bytes) -> bool:
        return key in self.cached or key in self.joined or key in self.failed

    def fail(self, key: bytes, error: SentimentError) -> None:
        """Give up on the texts with this key."""
        self.failed[key] = error
        for source in (self.cached, self.joined, self.encodings):
            source.pop(key, None)

    def index_of(self, key: bytes) -> int:
        """Return the index of the first text with this key, or with a window that has it."""
        return next(index for index, own in enumerate(self.keys) if key in (own, *self.windows.get(own, ())))

    def truncated(self) -> list[bytes]:
        """Return the keys of the texts with more tokens than the model reads, in their order."""
        sources = {key: item.payload for key, item in self.joined.items()} | self.encodings | self.cached
        return [key for key in dict.fromkeys(self.valid) if sources[key].truncated]

    def counts(self) -> tuple[int, int, int]:
        """Return how many texts are hits, misses and joined; a repetition within the request counts as joined.

        Texts that have failed do not count.
        """
        keys, cached = self.valid, self.cached.keys()
        hits = sum(key in cached or (key in self.windows and cached >= set(self.windows[key])) for key in keys)
        misses = len(self.new.keys() & set(keys))
        misses += sum(not self.new.keys().isdisjoint(parts) for parts in self.windows.values())
        return hits, misses, len(keys) - hits - misses

    def results(self, computed: Mapping[bytes, Prediction | SentimentError]) -> list[Prediction | SentimentError]:
        """Return the prediction of each text, or its error; that of a text read in windows is their average."""
        by_key: dict[bytes, Prediction | SentimentError] = {**self.cached, **self.failed, **computed}
        for key, parts in self.windows.items():
            predictions = [result for part in parts if isinstance(result := by_key[part], Prediction)]
            if len(predictions) == len(parts):
                by_key[key] = average(predictions, [len(self.encodings[part]) for part in parts])
            else:
                by_key[key] = next(result for part in parts if isinstance(result := by_key[part], SentimentError))
        return [by_key[key] for key in self.keys]


def suits(item: Item, query: Query) -> bool:
    """Return whether a query can wait for a text that was queued for another one."""
    is_limited = item.most_lanes > 0
    return not (query.reads_windows and item.payload.truncated) and (query.may_be_shallow or not is_limited)
