"""What is wrong with the JSON of a body, without anything that the client wrote."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Self

from pydantic import ValidationError
from pydantic_core import ErrorDetails

MAX_ERRORS = 20  # in one response
# Of an unknown field, to suggest a known one: the longest name that is compared, and how similar it must be (difflib).
_MAX_NAME_CHARS, _SIMILAR = 32, 0.7
PLACE = re.compile(r"line (\d+) column (\d+)")


class BodyInvalid(Exception):
    """The JSON of a body does not match. `errors` are pydantic's, `fields` the names that the body may have."""

    def __init__(self, errors: list[ErrorDetails], fields: Iterable[str] = (), *, is_utf8: bool = True) -> None:
        super().__init__("the body does not match the schema")
        self.errors = errors
        self.fields = sorted(fields)
        self.is_utf8 = is_utf8
        self.part = "body"  # of the request that is not valid: "body" or "query"

    @classmethod
    def from_pydantic(cls, error: ValidationError, fields: Iterable[str]) -> Self:
        """Keep what is wrong and where, and drop the input."""
        if error.error_count() > MAX_ERRORS:
            return cls.with_too_many_errors()
        return cls(error.errors(include_url=False, include_context=False, include_input=False), fields)

    @classmethod
    def from_syntax(cls, msg: str, *, is_utf8: bool) -> Self:
        """The body is not JSON; `msg` is pydantic's."""
        return cls([_error("json_invalid", (), msg)], is_utf8=is_utf8)

    @classmethod
    def with_unknown_field(cls, fields: Iterable[str]) -> Self:
        return cls([_error("extra_forbidden", ("",))], fields)

    @classmethod
    def with_too_many_bytes(cls, loc: tuple[str | int, ...], limit: int) -> Self:
        return cls([_error("too_large", loc, f"Input has more than {limit} bytes that are not a text")])

    @classmethod
    def with_too_many_errors(cls) -> Self:
        return cls([_error("too_many_errors", (), f"more than {MAX_ERRORS} parts of the body are invalid")])

    def describe(self, part: str) -> tuple[int, str]:
        """Return the status and the detail of an error in one line of a body."""
        if syntax_error := self._syntax_error:
            return 400, _describe_syntax_error(syntax_error["msg"], part, is_utf8=self.is_utf8)
        first = _without_input(self.errors[0], self.fields)
        return 422, ": ".join(filter(None, [path_of(first["loc"]), first["msg"]]))

    def render(self) -> list[dict[str, Any]]:
        """Return the errors as they are in a response."""
        errors = [_without_input(item, self.fields) for item in self.errors]
        for item in errors:
            item["loc"].insert(0, self.part)
        return errors

    @property
    def _syntax_error(self) -> ErrorDetails | None:
        return next((item for item in self.errors if item["type"] == "json_invalid"), None)

    @property
    def is_incomplete(self) -> bool:
        """Whether the body may be valid if more of it came."""
        messages = [error["msg"] for error in self.errors if error["type"] == "json_invalid"]
        return all(not message or message.startswith("EOF ") for message in messages)


def _error(kind: str, loc: tuple[str | int, ...], msg: str = "") -> ErrorDetails:
    return {"type": kind, "loc": loc, "msg": msg, "input": None}


def path_of(loc: Iterable[str | int]) -> str:
    """Return the place of an error as people write it: `body.texts.3`."""
    return ".".join(map(str, loc))


def _describe_syntax_error(msg: str, part: str, *, is_utf8: bool) -> str:
    if not is_utf8:
        return f"the {part} is not valid JSON: its encoding is not UTF-8"
    place = PLACE.search(msg)
    why = f"the {part} is not valid JSON" + (": incomplete escape or surrogate pair" if "hex escape" in msg else "")
    if not place:
        return why
    return f"{why}, at column {place[2]}" if part == "line" else f"{why}, at {place[0]}"


def _without_input(item: ErrorDetails, fields: list[str]) -> dict[str, Any]:
    """Return one of pydantic's errors without anything that the client wrote, such as the name of an unknown field."""
    loc, msg = item["loc"], item["msg"]
    if item["type"] == "extra_forbidden":
        name, loc = str(loc[-1]), loc[:-1]
        similar = get_close_matches(name.lower(), fields, 1, _SIMILAR) if len(name) <= _MAX_NAME_CHARS else []
        hint = f" (did you mean {similar[0]}?)" if similar else ""
        msg = f"unknown field{hint}; expected {', '.join(fields)}"
    elif item["type"] == "union_tag_invalid":  # pydantic's message repeats the name of the client
        msg = f"expected one of {msg.rpartition(': ')[2]}"
    return {"loc": [*loc], "msg": msg.replace(" after validation", "")}
