"""Files that are as they were, or complete."""

import json
from pathlib import Path
from typing import Any

from training.errors import InputError


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object; raise `InputError` when the file holds something else."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not even UTF-8
        raise InputError(f"{file}: not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{file}: not a JSON object")
    return content
