"""Structured logs: one JSON object a line for machines, plain lines on a terminal. Never a user's text.

A record's fields are passed as `extra={"fields": {...}}`. Exceptions are logged by type and place, not by message:
messages of libraries quote their input.
"""

import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

import orjson

logger = logging.getLogger("sentiment")


def configure(style: Literal["auto", "json", "console"], level: str) -> None:
    """Send all logs of the process, uvicorn's and the libraries' included, to stderr in one style."""
    if style == "auto":
        style = "console" if sys.stderr.isatty() else "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if style == "json" else _ConsoleFormatter())
    logging.root.handlers = [handler]
    # What no line of ours shows need not be found out for each (the logging how-to, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - the documented way
    logging.raiseExceptions = False  # a line that cannot be written, on a full disk, is lost and nothing else
    logging.root.setLevel(logging.WARNING)
    logger.setLevel(level.upper())
    # It warns of what clients send, line by line; `app.api.connection` logs that as it does every request.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def log(level: int, event: str, **fields: object) -> None:
    """Log an event with its fields."""
    if logger.isEnabledFor(level):
        logger.log(level, event, extra={"fields": fields})


def log_exception(event: str, error: BaseException, **fields: object) -> None:
    """Log an unexpected exception: its type and where it came from, without its message."""
    log(logging.ERROR, event, error=type(error).__qualname__, trace=_frames(error.__traceback__), **fields)


def _frames(trace: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = dict(getattr(record, "fields", {}))
    if record.exc_info and record.exc_info[1] is not None:
        fields |= {"error": record.exc_info[0].__qualname__ if record.exc_info[0] else ""}
        fields |= {"trace": _frames(record.exc_info[2])}
    return fields


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "event": record.getMessage()}
        if record.name != logger.name:
            line["logger"] = record.name
        return orjson.dumps(line | _fields(record), default=str).decode()


class _ConsoleFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        fields = _fields(record)
        trace = "".join(f"\n    {frame}" for frame in fields.pop("trace", []))
        rest = " ".join(f"{name}={value}" for name, value in fields.items())
        return f"{time} {record.levelname.lower():7} {record.getMessage()} {rest}".rstrip() + trace
