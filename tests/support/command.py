"""The command line in the process of the test."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from app.cli import main


def run(*args: str | Path) -> int:
    """Run a command and return its exit status."""
    with pytest.raises(SystemExit) as caught:
        main([str(arg) for arg in args])
    return int(caught.value.code or 0)


def standard_input(content: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedReader(io.BytesIO(content)))  # type: ignore[arg-type]


def score(*args: str | Path, backend: str = "mock") -> int:
    return run("score", "--backend", backend, *args)


def read_csv(file: Path, **options: Any) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream, strict=True, **options))


def read_jsonl(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]
