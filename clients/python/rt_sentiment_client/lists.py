"""Forms lists of texts that stay below the limits of a server."""

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

# What a body has beside its texts.
_RESERVED_BYTES = 1024


@dataclass(frozen=True, slots=True)
class TextList:
    """Some texts of an iterable, as JSON. `first` is the index of the first one."""

    first: int
    texts: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def halves(self) -> "tuple[TextList, TextList]":
        middle = len(self.texts) // 2
        return TextList(self.first, self.texts[:middle]), TextList(self.first + middle, self.texts[middle:])


class ListFormer:
    """Collects texts until they are as many, or as large, as a list may be."""

    def __init__(self, max_texts: int, max_bytes: int) -> None:
        self._max_texts = max_texts
        self._max_bytes = max(1, max_bytes - _RESERVED_BYTES)
        self._first = 0
        self._texts: list[bytes] = []
        self._bytes = 0
        self.failure: Exception | None = None

    def add(self, text: object) -> TextList | None:
        """Add a text; return a list if one is complete now."""
        encoded = encode(text)
        complete = None
        if self._bytes + len(encoded) >= self._max_bytes:
            complete = self.rest()
        self._texts.append(encoded)
        self._bytes += len(encoded) + 1  # the comma
        if complete is None and len(self._texts) >= self._max_texts:
            complete = self.rest()
        return complete

    def rest(self) -> TextList | None:
        """Return the list of the texts that are left, if there are any."""
        if not self._texts:
            return None
        complete = TextList(self._first, tuple(self._texts))
        self._first += len(complete)
        self._texts = []
        self._bytes = 0
        return complete


def form(texts: Iterable[object], former: ListFormer) -> Iterator[TextList]:
    """Form lists of all texts. If the iterable raises, `former.failure` has the error, and the texts are in lists."""
    try:
        for text in texts:
            if complete := former.add(text):
                yield complete
    except Exception as error:  # whatever the iterable raises
        former.failure = error
    if rest := former.rest():
        yield rest


async def form_async(texts: AsyncIterable[object] | Iterable[object], former: ListFormer) -> AsyncIterator[TextList]:
    """Do the same as `form`, with asynchronous iterables, too."""
    if isinstance(texts, AsyncIterable):
        try:
            async for text in texts:
                if complete := former.add(text):
                    yield complete
        except Exception as error:  # whatever the iterable raises
            former.failure = error
        if rest := former.rest():
            yield rest
    else:
        for complete in form(texts, former):
            yield complete


def encode(text: object) -> bytes:
    """Return the JSON of a text. What is not a string becomes `null`, which the server refuses in its place."""
    if not isinstance(text, str):
        return b"null"
    try:
        return json.dumps(text, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which only an escape can express
        return json.dumps(text).encode()
