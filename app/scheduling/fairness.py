"""Callers take turns: of each only so many texts are due at a time, and its others one by one as those start.

So whoever floods the service waits for itself. As with the texts of a list (`batching.py`), what is not due runs when
nothing else does. Pure and synchronous.
"""

import math
from typing import Generic, TypeVar

from .queue import Client, Entry

E = TypeVar("E", bound=Entry)


class Callers(Generic[E]):
    """Everyone who has sent something, by name; at most `most_due` entries of each are due."""

    def __init__(self, most_due: int) -> None:
        self._most_due = most_due
        self._clients: dict[str, Client] = {}

    def find(self, name: str) -> Client:
        """The caller of that name."""
        return self._clients.setdefault(name, Client())

    def sharing(self) -> int:
        """How many share the machine now."""
        return sum(bool(client.due) for client in self._clients.values())

    def room(self, client: Client) -> int:
        """How many more entries of a caller may be due; none while others of it wait."""
        return 0 if self._waits(client) else max(0, self._most_due - client.due)

    def turn(self, client: Client) -> E | None:
        """Take the entry of a caller whose turn has come, if one has."""
        if client.due >= self._most_due or not self._waits(client):
            return None
        entry: E = client.waiting.popleft()
        return entry

    def _waits(self, client: Client) -> bool:
        """Whether anything waits; what has run, left or been hastened meanwhile is forgotten."""
        while client.waiting and not (client.waiting[0].queued and client.waiting[0].due_s == math.inf):
            client.waiting.popleft()
        return bool(client.waiting)
