"""Structured logs: one JSON object per line for machines, plain lines on a terminal.

A line never contains a user's text. Exceptions are logged by type and stack frames, without their message, because
libraries quote their input in it. Events of this package carry their fields as `extra={"fields": {...}}`; those of a
request or job with a trace also get its id.
"""

import asyncio
import logging
import sys
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, TextIO

import orjson

from .trace_context import current

logger = logging.getLogger("sentiment")


def configure(style: Literal["auto", "json", "console"], level: str) -> None:
    """Send all logs of the process to stderr in one style, including those of uvicorn and other libraries."""
    if style == "auto":
        style = "console" if sys.stderr.isatty() else "json"
    handler = _BatchingHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if style == "json" else _ConsoleFormatter())
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.WARNING)
    logger.setLevel(level.upper())
    # Fields that no line shows cost time in every record (logging how-to, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - the documented way
    # uvicorn warns about each malformed request; `server.protocol` logs those like every other request.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def log(level: int, event: str, **fields: object) -> None:
    """Log an event with its fields."""
    logger.log(level, event, extra={"fields": fields})


def log_fields(level: int, event: str, fields: Mapping[str, object]) -> None:
    """Log an event whose fields are already in a mapping."""
    if logger.isEnabledFor(level):
        logger.handle(_Record(level, event, fields))


def log_exception(event: str, error: BaseException, **fields: object) -> None:
    """Log an unexpected exception: its type and stack frames, without its message."""
    log(logging.ERROR, event, **_describe(error), **fields)


def log_loop_error(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Log an unhandled error of the event loop. asyncio's own handler would log the message of the exception."""
    if isinstance(error := context.get("exception"), BaseException):
        log_exception("unexpected error", error)
    else:
        log(logging.ERROR, "unexpected error", reason=str(context.get("message", "")))


class _Record(logging.LogRecord):
    """A record with fields. It says nothing of the code that logs, which would take most of the time."""

    _COMMON: ClassVar = vars(logging.LogRecord(logger.name, 0, "", 0, "", None, None)) | dict.fromkeys(
        ("thread", "threadName", "process", "processName")
    )

    def __init__(self, level: int, event: str, fields: Mapping[str, object]) -> None:
        created = time.time()
        self.__dict__.update(
            self._COMMON,
            levelno=level,
            levelname=logging.getLevelName(level),
            msg=event,
            created=created,
            msecs=created % 1 * 1000,
            fields=fields,
        )


class _BatchingHandler(logging.StreamHandler[TextIO]):
    """Writes all lines of one event loop iteration with one system call.

    Lines of other threads, and lines logged while no event loop runs, are written at once.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._flushing: asyncio.AbstractEventLoop | None = None  # the event loop that will call `flush`

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record))
        except Exception:  # a lone surrogate, or arguments that do not match the format: only this line is lost
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if loop is not self._flushing:
            self._flushing = loop
            loop.call_soon(self.flush)

    def flush(self) -> None:
        self.acquire()
        try:
            lines, self._lines, self._flushing = self._lines, [], None
            if lines:
                self.stream.write("\n".join([*lines, ""]))
            super().flush()
        except (OSError, ValueError):  # the disk is full, or the stream is closed: only these lines are lost
            pass
        finally:
            self.release()


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_fields(record),
        }
        return orjson.dumps(line, default=str).decode()


class _ConsoleFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        written = f"{datetime.fromtimestamp(record.created, UTC).astimezone():%H:%M:%S.%f}"[:-3]
        fields = dict(_fields(record))
        trace = "".join(f"\n    {frame}" for frame in fields.pop("trace", ()))
        shown = " ".join(f"{name}={value}" for name, value in fields.items())
        return f"{written} {record.levelname.lower():7} {record.getMessage()} {shown}".rstrip() + trace


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    if record.name == logger.name:
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        return {**fields, "trace_id": trace.trace_id} if (trace := current.get()) else fields
    error = record.exc_info[1] if record.exc_info else None
    return {"logger": record.name, **(_describe(error) if error else {})}


def _describe(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    trace = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": type(error).__qualname__, "trace": trace}
