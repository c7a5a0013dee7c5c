"""Answers that are known, and those that are being computed: a bounded LRU and single-flight."""

import hashlib
from collections.abc import Hashable
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
F = TypeVar("F")


def key_of(text: str) -> bytes:
    """A digest: 16 bytes however long the text is, and no user's words are kept in memory."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def key_of_part(key: bytes, place: int) -> bytes:
    """Of a window of a text: longer than any text's, so that none is taken for a whole text or its beginning."""
    return key + place.to_bytes(4)


class Cache(Generic[K, V, F]):
    """At most `entries` values (none for 0), the least recently used going first, and the flights under way.

    A flight is whatever computes a value; the cache only remembers it until it lands. Used on the event loop alone,
    so it needs no lock.
    """

    def __init__(self, entries: int) -> None:
        self._values: LRUCache[K, V] = LRUCache(entries)
        self._flights: dict[K, F] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """Return the value of `key`, or None."""
        return self._values.get(key)

    def flight(self, key: K) -> F | None:
        """Return what is computing the value of `key` right now, or None."""
        return self._flights.get(key)

    def depart(self, key: K, flight: F) -> None:
        """`flight` begins to compute the value of `key`."""
        self._flights[key] = flight

    def land(self, key: K, value: V | None) -> None:
        """The flight of `key` is over: keep its value, if it has one."""
        self._flights.pop(key, None)
        if value is not None and self._values.maxsize:
            self._values[key] = value
