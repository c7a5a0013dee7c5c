"""The texts of a stream that are on their way: which are to be sent, which are not answered, which can be delivered."""

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import UnexpectedResponse, error_in_place
from .lists import encode
from .many import Result
from .messages import result_of


@dataclass(slots=True)
class StreamText:
    """A text, and its result if that has arrived."""

    index: int
    line: bytes
    result: Result | None = None
    attempts: int = 0


class Window:
    """At most `size` texts of a stream, and no more once they have `max_bytes`.

    Results are delivered in the order of the texts.

    The events tell the parts of a stream when to go on: `has_room` the one that reads texts, `has_lines` the one that
    sends them, `has_results` the one that delivers results.
    """

    def __init__(self, size: int, max_bytes: int, request_id: str) -> None:
        self._size = size
        self._max_bytes = max_bytes
        self._bytes = 0  # of all texts that are not answered
        self._request_id = request_id
        self._next_index = 0
        self._texts: deque[StreamText] = deque()  # all that are not delivered, in their order
        self._unsent: deque[StreamText] = deque()
        self._unanswered: deque[StreamText] = deque()  # in the order in which they were sent
        self.is_ended = False
        self.failure: Exception | None = None
        self.has_room, self.has_lines, self.has_results = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._update()

    def add(self, text: object) -> None:
        """Add the next text of the iterable."""
        line = b'{"id":%d,"text":%s}\n' % (self._next_index, encode(text))
        self._texts.append(StreamText(self._next_index, line))
        self._unsent.append(self._texts[-1])
        self._bytes += len(line)
        self._next_index += 1
        self._update()

    def end(self, failure: Exception | None = None) -> None:
        """There are no more texts, maybe because the iterable has failed."""
        self.is_ended = True
        self.failure = failure
        self._update()

    def lines(self) -> bytes:
        """Return the lines that are to be sent now."""
        lines = b"".join(text.line for text in self._unsent)
        self._unanswered += self._unsent
        self._unsent.clear()
        self._update()
        return lines

    def receive(self, line: bytes, model: str | None) -> tuple[StreamText, Result]:
        """Read the answer to the oldest text that has none. Then call `answer` or `send_again`.

        A line without an id says why the server ends the stream; that error is raised.
        """
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            content = None
        if isinstance(content, dict) and "id" not in content and "error" in content:
            raise error_in_place(content["error"], self._request_id)
        if not isinstance(content, dict) or not self._unanswered or not self._is_next(content):
            raise UnexpectedResponse("the stream has a line that answers no text", request_id=self._request_id)
        text = self._unanswered.popleft()
        return text, result_of(content, model, self._request_id, text.index)

    def _is_next(self, content: Mapping[str, Any]) -> bool:
        """Whether the answer is the next one. The server could not read the id of a line that is too long."""
        id_ = content.get("id")
        return id_ == self._unanswered[0].index or (id_ is None and "error" in content)

    def answer(self, text: StreamText, result: Result) -> None:
        text.result = result
        self._bytes -= len(text.line)
        self._update()

    def send_again(self, text: StreamText) -> None:
        self._unsent.append(text)
        self._update()

    def take(self) -> list[Result]:
        """Return the results that can be delivered."""
        results = []
        while self._texts and (result := self._texts[0].result) is not None:
            results.append(result)
            self._texts.popleft()
        self._update()
        return results

    def reconnect(self) -> None:
        """The connection is gone: what was not answered is to be sent again."""
        self._unsent.extendleft(reversed(self._unanswered))
        self._unanswered.clear()
        self._update()

    @property
    def is_waiting(self) -> bool:
        """Whether the server owes an answer."""
        return bool(self._unanswered)

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    @property
    def is_answered(self) -> bool:
        """Whether there is nothing left to send or to wait for, and will not be."""
        return self.is_ended and not self._unsent and not self._unanswered

    def _update(self) -> None:
        _set(self.has_room, len(self._texts) < self._size and self._bytes < self._max_bytes)
        _set(self.has_lines, bool(self._unsent) or self.is_ended)
        _set(self.has_results, bool(self._texts and self._texts[0].result is not None))


def _set(event: asyncio.Event, condition: bool) -> None:
    if condition:
        event.set()
    else:
        event.clear()
