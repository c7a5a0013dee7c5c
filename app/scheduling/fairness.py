"""Fairness between callers: they take turns. Pure and synchronous.

At most a fixed number of texts of each caller is due at a time. Whenever one of them starts, the caller's next text
becomes due. A caller that floods the service therefore delays only itself. As with the texts of a list (see `queue`),
texts that are not due run when nothing else does.
"""

import math
from typing import Generic, TypeVar

from .queue import Client, Entry

E = TypeVar("E", bound=Entry)


class Callers(Generic[E]):
    """The callers by name. At most `most_due` entries of each are due."""

    def __init__(self, most_due: int) -> None:
        self._most_due = most_due
        self._clients: dict[str, Client] = {}

    def find(self, name: str) -> Client:
        """Return the caller with this name; make it if it is new."""
        return self._clients.setdefault(name, Client())

    def sharing(self) -> int:
        """Return how many callers have entries that are due, and so share the machine."""
        return sum(bool(client.due) for client in self._clients.values())

    def room(self, client: Client) -> int:
        """Return how many more entries of a caller may be due: 0 while earlier entries of it wait for their turn."""
        return 0 if self._waits(client) else max(0, self._most_due - client.due)

    def turn(self, client: Client) -> E | None:
        """Remove and return the next waiting entry of a caller; return None if it has none or may not have more due."""
        if client.due >= self._most_due or not self._waits(client):
            return None
        entry: E = client.waiting.popleft()
        return entry

    def _waits(self, client: Client) -> bool:
        """Return whether an entry waits for its turn. Entries that ran, left or became due otherwise are dropped."""
        while client.waiting and not (client.waiting[0].queued and client.waiting[0].due_s == math.inf):
            client.waiting.popleft()
        return bool(client.waiting)
