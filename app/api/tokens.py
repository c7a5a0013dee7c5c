"""The tokens of JSON that arrives in pieces. jiter, which pydantic uses, decodes them and explains what is wrong."""

import codecs
import re
from typing import Any

from pydantic_core import from_json

from .invalid import PLACE, BodyInvalid

_MAX_DEPTH = 200  # as in jiter

_SPACE = re.compile(rb"[ \t\r\n]*+")
_REST_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_STRINGS = re.compile(rb"(?:[ \t\r\n]*+" + _STRING + rb"[ \t\r\n]*+,)++", re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]|" + _STRING + rb"?", re.DOTALL)
_DEPTH = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
_SCALAR = re.compile(rb'[^ \t\r\n,:\[\]{}"]*+')


class Tokens:
    """A buffer of JSON and a position in it, at which the parser expects a token."""

    def __init__(self) -> None:
        self.at = 0
        self.is_last = False
        self._buffer = b""
        self._started = False
        self._may_be_utf8 = True
        self._scanned = 0  # the string at the position does not end before this
        self._no_strings = 0  # the strings before this cannot be decoded together
        self._lines, self._column = 1, 0  # of the start of the buffer

    def __len__(self) -> int:
        return len(self._buffer) - self.at

    def append(self, data: bytes, *, is_last: bool) -> None:
        """Add a piece, and forget what is before the position."""
        self._lines, self._column = self._place(self.at)
        self._buffer = self._buffer[self.at :] + data
        self._scanned -= self.at
        self._no_strings -= self.at
        self.at, self.is_last = 0, is_last
        if not self._started and (len(self._buffer) >= 4 or is_last):
            self._started = True
            self._buffer = self._buffer.removeprefix(codecs.BOM_UTF8)
            self._may_be_utf8 = b"\0" not in self._buffer[:4]  # otherwise it is UTF-16 or UTF-32

    def peek(self) -> bytes:
        """Return the first byte that is not white space; nothing if more must come."""
        if not self._started:
            return b""
        self.at = _SPACE.match(self._buffer, self.at).end()  # type: ignore[union-attr]  # matches nothing, too
        return self._buffer[self.at : self.at + 1]

    def scan_string(self, *, from_within: bool = False) -> tuple[int, bool]:
        """Return how far the string at the position is known, and whether it ends there."""
        start = self.at if from_within else max(self.at + 1, self._scanned)
        end = _REST_OF_STRING.match(self._buffer, start).end()  # type: ignore[union-attr]  # matches nothing, too
        is_complete = self._buffer[end : end + 1] == b'"'
        self._scanned = 0 if is_complete else end
        return end + is_complete, is_complete

    def end_of_scalar(self) -> int | None:
        """Return where the number or word at the position ends; None if more may come."""
        end = _SCALAR.match(self._buffer, self.at).end()  # type: ignore[union-attr]  # matches nothing, too
        return end if end < len(self._buffer) or self.is_last else None

    def end_of_nested(self) -> int | None:
        """Return where the list or object at the position ends; None if more must come."""
        depth = 0
        for bracket in _BRACKET.finditer(self._buffer, self.at):
            depth += _DEPTH.get(bracket[0], 0)
            if depth in {0, _MAX_DEPTH}:
                return bracket.end()
        return None

    def strings(self) -> list[str] | None:
        """Decode all strings of a list that are complete, each with the comma behind it; None if there is none."""
        if max(self._scanned, self._no_strings) > self.at or not (run := _STRINGS.match(self._buffer, self.at)):
            return None
        try:
            strings: list[str] = from_json(b"[" + run[0] + b"0]", cache_strings=False)
        except ValueError:  # in one of them
            self._no_strings = run.end()
            return None
        self.at = run.end()
        return strings[:-1]

    def token(self, end: int) -> bytes:
        return self._buffer[self.at : end]

    def decode(self, end: int, context: bytes) -> Any:
        """Return the value of the token up to `end`. Raises `BodyInvalid`."""
        try:
            return from_json(self.token(end), cache_strings=False)
        except ValueError:
            raise self.syntax_error(end + 1, context) from None  # a word is wrong because of what follows

    def syntax_error(self, end: int, context: bytes) -> BodyInvalid:
        """Return what is wrong in the buffer before `end`, and its place in the body.

        `context` is JSON that leads to the same state as what came before.
        """
        message = ""
        try:
            from_json(context + self.token(end))
        except ValueError as error:
            message = str(error)

        def place(relative: re.Match[str]) -> str:
            line, column = int(relative[1]), int(relative[2])
            lines, before = self._place(self.at)
            return f"line {line + lines - 1} column {column + before - len(context) if line == 1 else column}"

        decoder = codecs.getincrementaldecoder("utf-8")()
        is_utf8 = self._may_be_utf8
        try:
            decoder.decode(self._buffer[self.at :], self.is_last)
        except UnicodeDecodeError:
            is_utf8 = False
        return BodyInvalid.from_syntax(PLACE.sub(place, message), is_utf8=is_utf8)

    def _place(self, at: int) -> tuple[int, int]:
        """Return the number of the line at an index of the buffer, and how many of its bytes are before."""
        lines = self._buffer.count(b"\n", 0, at)
        column = at - self._buffer.rfind(b"\n", 0, at) - 1 if lines else self._column + at
        return self._lines + lines, column
