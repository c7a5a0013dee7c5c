"""A JSON parser for bodies: refuses what no valid body has before it becomes Python objects.

The largest body takes a few thousand steps in Python, because texts are decoded many at a time, and fields, elements
and everything that is not a string are limited in number or size.
"""

import json
import re
import sys
from collections.abc import Sequence
from enum import Enum
from typing import Any

from ..errors import InvalidInput, TextTooLong
from ..types import Text, pack
from .form import Form
from .invalid import BodyInvalid
from .tokens import Tokens

MAX_OTHER_BYTES = 64 * 1024  # of all values that are not strings
HALF_PAIR = "the text has an incomplete surrogate pair"
_MAX_FIELDS = 32
_MAX_OBJECTS = 16
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # half of a pair, as JSON writes it


class _State(Enum):
    """What comes next. Each value is short JSON that leads there, for error messages."""

    TOP = b""
    FIRST_KEY = b"{"
    KEY = b'{"":0,'
    COLON = b'{""'
    VALUE = b'{"":'
    AFTER_VALUE = b'{"":""'
    FIRST_ITEM = b'{"":['
    ITEM = b'{"":[0,'
    AFTER_ITEM = b'{"":[""'
    END = b"{}"


_KEYS = (_State.FIRST_KEY, _State.KEY)
_ITEMS = (_State.FIRST_ITEM, _State.ITEM)
_VALUES = (_State.TOP, _State.VALUE, *_ITEMS)
_NEXT = {
    (_State.TOP, b"{"): _State.FIRST_KEY,
    (_State.FIRST_KEY, b"}"): _State.END,
    (_State.COLON, b":"): _State.VALUE,
    (_State.AFTER_VALUE, b","): _State.KEY,
    (_State.AFTER_VALUE, b"}"): _State.END,
    (_State.FIRST_ITEM, b"]"): _State.AFTER_VALUE,
    (_State.AFTER_ITEM, b","): _State.ITEM,
    (_State.AFTER_ITEM, b"]"): _State.AFTER_VALUE,
}

Item = Text | InvalidInput | None


class BodyParser:
    """Parses one body, which may come in pieces of any size.

    `value` is what the body says, except that a nested list or object is empty unless the form has a place for it, what
    is in a list and not a string or in an unknown field is `None`, and a text with too many characters is another one
    with too many. The texts of a list are packed. Of a repeated field, the last counts.
    """

    def __init__(self, form: Form) -> None:
        self.value: Any = {}
        self._object: dict[str, Any] = self.value  # that the parser is in
        self._outer: list[tuple[Form, dict[str, Any], str, list[Any]]] = []  # around the object
        self._form = form
        self._max_string_bytes = 12 * form.max_text_chars + 2  # a character may be written as two escapes of six bytes
        self._tokens = Tokens()
        self._state = _State.TOP
        self._field = ""
        self._fields = 0
        self._items: list[Any] = []  # of the list that the parser is in
        self._rows, self._in_row = 0, False
        self._kept_bytes: dict[tuple[int, str], int] = {}  # of the value of each field of each object
        self._other_bytes = 0
        self._skips = False  # it is within a string that is too long
        self._half_pair: BodyInvalid | None = None  # the error of the first one

    @property
    def held_bytes(self) -> int:
        """Memory of the texts, and of what is not parsed yet."""
        return sum(self._kept_bytes.values()) + len(self._tokens)

    def feed(self, data: bytes, *, is_last: bool = False) -> None:
        """Parse the next piece of the body.

        Raises `BodyInvalid`, and `TextTooLong` if the list has too many elements.
        """
        self._tokens.append(data, is_last=is_last)
        try:
            while self._step():
                pass
            if is_last and self._state is not _State.END:
                raise self._syntax_error(self._tokens.at + len(self._tokens))
        except BodyInvalid as error:
            raise self._half_pair or error from None
        if is_last and self._half_pair and not (isinstance(self.value, dict) and self.value.get("partial") is True):
            raise self._half_pair

    def _step(self) -> bool:
        """Parse one token, or many strings of a list; return False if it has not arrived completely."""
        char = b'"' if self._skips else self._tokens.peek()
        if not char:
            return False
        if following := self._enter(char) or self._leave(char) or _NEXT.get((self._state, char)):
            self._tokens.at += 1
            self._state = following
            return True
        if self._state in _KEYS and char == b'"':
            return self._read_key()
        if self._state in _VALUES and char not in b",:]}":
            return self._read_value(char)
        raise self._syntax_error(self._tokens.at + 1)

    def _enter(self, char: bytes) -> _State | None:
        """Return the state within a list or an object that has a place in the form; None if it is something else."""
        form = self._form
        if self._state is _State.VALUE and char == b"[" and self._field in (form.list_field, form.objects_field):
            self._items = self._object[self._field] = []
            self._keep(0)
            return _State.FIRST_ITEM
        if self._state not in _ITEMS:
            return None
        if char == b"[" and form.has_rows and not self._in_row:
            self._in_row = True
            self._rows += 1
            self._check_length(self._rows, form.max_texts)
            return _State.FIRST_ITEM
        if char == b"{" and form.objects and self._field == form.objects_field:
            self._outer.append((form, self._object, self._field, self._items))
            self._form, self._object = form.objects, {}
            self._items.append(self._object)
            self._check_length(len(self._items), _MAX_OBJECTS)
            return _State.FIRST_KEY
        return None

    def _leave(self, char: bytes) -> _State | None:
        """Return the state after the end of a row, or of an object in a list; None if it is something else."""
        if self._in_row and char == b"]" and self._state in (_State.FIRST_ITEM, _State.AFTER_ITEM):
            self._in_row = False
            return _State.AFTER_ITEM
        if self._outer and char == b"}" and self._state in (_State.FIRST_KEY, _State.AFTER_VALUE):
            self._form, self._object, self._field, self._items = self._outer.pop()
            return _State.AFTER_ITEM
        return None

    def _read_key(self) -> bool:
        key = self._read_string()
        if key is None:
            return False
        self._fields += 1
        if self._fields > _MAX_FIELDS:
            raise BodyInvalid.with_too_many_errors()
        self._field, self._state = str(key), _State.COLON
        return True

    def _read_value(self, char: bytes) -> bool:
        """Read a value, or several in a list; return False if it has not arrived completely."""
        if char == b'"':
            if self._state in _ITEMS and not self._skips and (texts := self._tokens.strings()):
                self._add(texts)
                self._state = _State.ITEM
                return True
            value = self._read_string()
            if value is None:
                return False
        else:
            end = self._tokens.end_of_nested() if char in b"[{" else self._tokens.end_of_scalar()
            used = self._other_bytes + (len(self._tokens) if end is None else end - self._tokens.at)
            if used > MAX_OTHER_BYTES:
                raise self._too_large(end)
            if end is None:
                return False
            value = self._decode(end)
            self._tokens.at, self._other_bytes = end, used
        is_kept = self._state is _State.VALUE and self._field in self._form.small_fields
        self._take(type(value)() if isinstance(value, list | dict) and not is_kept else value)
        return True

    def _take(self, value: Any) -> None:
        if self._state is _State.TOP:
            self.value, self._state = value, _State.END
        elif self._state is _State.VALUE:
            kept = self._object[self._field] = value if self._field in self._form.fields else None
            self._state = _State.AFTER_VALUE
            self._keep(sys.getsizeof(kept))
        else:
            self._add([value])
            self._state = _State.AFTER_ITEM

    def _add(self, values: Sequence[object]) -> None:
        items = [self._item(value) for value in values]
        self._items += items
        self._check_length(len(self._items), self._form.max_texts or _MAX_OBJECTS)
        self._kept_bytes[id(self._object), self._field] += sum(sys.getsizeof(item) for item in items)

    def _keep(self, size: int) -> None:
        """Count the value of a field. Of a repeated field, only the last value is kept."""
        self._kept_bytes[id(self._object), self._field] = size

    def _check_length(self, length: int, limit: int) -> None:
        if length > limit:
            raise TextTooLong(f"the list has more than {limit} texts", ("body", self._field))

    def _item(self, value: object) -> Item:
        if isinstance(value, str):
            return pack(self._limited(value))
        return value if isinstance(value, InvalidInput) else None

    def _read_string(self) -> str | InvalidInput | None:
        """Read a string; return None if it is not complete."""
        tokens = self._tokens
        end, is_complete = tokens.scan_string(from_within=self._skips)
        is_too_long = self._skips or end - tokens.at > self._max_string_bytes
        if not is_complete:
            self._skips = is_too_long
            if is_too_long:
                tokens.at = end
            return None
        text: str | InvalidInput = self._longer() if is_too_long else self._decode(end)
        tokens.at, self._skips = end, False
        return self._limited(text) if isinstance(text, str) else text

    def _limited(self, text: str) -> str:
        return text if len(text) <= self._form.max_text_chars else self._longer()

    def _longer(self) -> str:
        return "x" * (self._form.max_text_chars + 1)

    def _decode(self, end: int) -> Any:
        """Return what a token stands for; in a list, `InvalidInput` if it has half a surrogate pair."""
        try:
            return self._tokens.decode(end, self._state.value)
        except BodyInvalid as error:
            token = self._tokens.token(end)
            if self._state not in _ITEMS or not SURROGATE.search(token):
                raise
            try:
                json.loads(token.decode())  # accepts them
            except ValueError:
                raise error from None
            self._half_pair = self._half_pair or error
            return InvalidInput(HALF_PAIR)

    def _syntax_error(self, end: int) -> BodyInvalid:
        return self._tokens.syntax_error(end, self._state.value)

    def _too_large(self, end: int | None) -> BodyInvalid:
        """Return the error of a list, an object or a number with too many bytes, of which some may be missing."""
        error = self._syntax_error(end or self._tokens.at + MAX_OTHER_BYTES)
        if not error.is_incomplete:
            return error
        loc: tuple[str | int, ...] = (self._field, len(self._items)) if self._state in _ITEMS else (self._field,)
        if self._state is _State.TOP:
            loc = ()
        elif self._field not in self._form.fields:
            return BodyInvalid.with_unknown_field(self._form.fields)
        return BodyInvalid.with_too_many_bytes(loc, MAX_OTHER_BYTES)
