"""The form of a body: what a parser accepts before the body is validated."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Form:
    """What a valid body may have."""

    fields: Collection[str]
    max_text_chars: int
    list_field: str | None = None  # the one that may be a list of texts
    max_texts: int = 0
    has_rows: bool = False  # lists of texts in that list are read as part of it
    small_fields: Collection[str] = ()  # whose lists and objects are kept
    objects_field: str | None = None  # the one that may be a list of objects
    objects: "Form | None" = None  # what each of these may have
