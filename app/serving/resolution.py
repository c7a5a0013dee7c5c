"""Where the prediction of each text of a request comes from. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..inference import average
from ..scheduling import WorkItem
from ..types import Encoding, Prediction

Item = WorkItem[Encoding, Prediction]


@dataclass(slots=True)
class Resolution:
    """The texts of a request by cache key: cached, being computed for another request, or new.

    A text that is read in windows has none of these itself: `windows` has the keys of its windows, which do.
    """

    keys: Sequence[bytes]  # one per text, in the order of the request
    cached: dict[bytes, Prediction] = field(default_factory=dict)
    joined: dict[bytes, Item] = field(default_factory=dict)
    new: dict[bytes, Item] = field(default_factory=dict)
    encodings: dict[bytes, Encoding] = field(default_factory=dict)  # of what had to be tokenised
    windows: dict[bytes, list[bytes]] = field(default_factory=dict)

    @property
    def items(self) -> dict[bytes, Item]:
        """What the request waits for."""
        return self.joined | self.new

    def knows(self, key: bytes) -> bool:
        return key in self.cached or key in self.joined

    def first_truncated(self) -> int | None:
        """Return the index of the first text with more tokens than the model reads."""
        for index, key in enumerate(self.keys):
            item = self.joined.get(key)
            source = self.cached.get(key) or (item.payload if item else self.encodings[key])
            if source.truncated:
                return index
        return None

    def counts(self) -> tuple[int, int, int]:
        """Return how many texts are hits, misses and joined; a repetition within the request counts as joined."""
        cached = self.cached.keys()
        hits = sum(key in cached or (key in self.windows and cached >= set(self.windows[key])) for key in self.keys)
        misses = len(self.new.keys() & set(self.keys))
        misses += sum(not self.new.keys().isdisjoint(parts) for parts in self.windows.values())
        return hits, misses, len(self.keys) - hits - misses

    def predictions(self, computed: Mapping[bytes, Prediction]) -> list[Prediction]:
        """Return the prediction of each text; that of a text read in windows is their average."""
        by_key = self.cached | dict(computed)
        for key, parts in self.windows.items():
            by_key[key] = average([by_key[part] for part in parts], [len(self.encodings[part]) for part in parts])
        return [by_key[key] for key in self.keys]
