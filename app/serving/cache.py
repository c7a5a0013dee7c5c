"""A bounded LRU of predictions, and the computations in progress that other requests can join."""

import hashlib
from collections.abc import Hashable
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
W = TypeVar("W")


def key_of(text: str, owner: bytes = b"", salt: bytes = b"") -> bytes:
    """Return a digest of 16 bytes: the cache keeps no words of users.

    Different owners, of up to 64 bytes, and models, whose salts have up to 16 bytes, have different keys for the same
    text.
    """
    return hashlib.blake2b(text.encode(), digest_size=16, key=owner, salt=salt).digest()


def owner_of(caller: str | None) -> bytes:
    """Return what `key_of` needs to keep the predictions of a caller apart."""
    return hashlib.blake2b((caller or "").encode(), digest_size=16).digest()


def key_of_part(key: bytes, place: int) -> bytes:
    """Return the key of a window of a text. It is longer than the key of any text, so that they never collide."""
    return key + place.to_bytes(4)


class Cache(Generic[K, V, W]):
    """At most `entries` values (0: none), and the work in flight for values that are not there yet.

    The least recently used value is evicted first. Used on the event loop alone, so it needs no lock.
    """

    def __init__(self, entries: int) -> None:
        self._values: LRUCache[K, V] = LRUCache(entries)
        self._in_flight: dict[K, W] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """Return the value of `key`, or None."""
        return self._values.get(key)

    def in_flight(self, key: K) -> W | None:
        """Return the work that computes the value of `key` now, or None."""
        return self._in_flight.get(key)

    def start(self, key: K, work: W) -> None:
        """`work` begins to compute the value of `key`."""
        self._in_flight[key] = work

    def finish(self, key: K, value: V | None) -> None:
        """The work for `key` is over: keep its value if it has one."""
        self._in_flight.pop(key, None)
        if value is not None:
            self.put(key, value)

    def put(self, key: K, value: V) -> None:
        """Keep a value that was computed elsewhere."""
        if self._values.maxsize:
            self._values[key] = value
