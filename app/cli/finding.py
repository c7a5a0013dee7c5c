"""What a check of `rt-sentiment doctor` finds."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, and how to fix it if it is not good."""

    name: str
    level: Literal["ok", "warning", "problem"]
    detail: str
    fix: str = ""
