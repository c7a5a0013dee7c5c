"""Structured logs: one JSON object a line for machines, plain lines on a terminal. Never a user's text.

Events of our own have fields; a record of `logging` carries them as `extra={"fields": {...}}`. Exceptions are logged by
type and place, not by message: messages of libraries quote their input.
"""

import asyncio
import functools
import logging
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO

import orjson

logger = logging.getLogger("sentiment")
_stream: "_Stream | None" = None


def configure(style: Literal["auto", "json", "console"], level: str) -> None:
    """Send all logs of the process, uvicorn's and the libraries' included, to stderr in one style."""
    global _stream  # noqa: PLW0603 - as the handlers of `logging` are
    if style == "auto":
        style = "console" if sys.stderr.isatty() else "json"
    _stream = _Stream(sys.stderr, _json if style == "json" else _console)
    logging.root.handlers = [_stream]
    # What no line of ours shows need not be found out for each (the logging how-to, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - the documented way
    logging.raiseExceptions = False  # a line that cannot be made is lost and nothing else
    logging.root.setLevel(logging.WARNING)
    logger.setLevel(level.upper())
    # It warns of what clients send, line by line; `app.server.protocol` logs that as it does every request.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def log(level: int, event: str, **fields: object) -> None:
    """Log an event with its fields."""
    log_fields(level, event, fields)


def log_fields(level: int, event: str, fields: Mapping[str, object]) -> None:
    """Log an event with its fields, which are there already."""
    if not logger.isEnabledFor(level):
        return
    if _stream and logging.root.handlers == [_stream]:
        # Past records and handlers: a line a request was a third of what an answer from the cache took.
        _stream.write(time.time(), level, event, fields)
    else:  # somebody else listens too
        logger.log(level, event, extra={"fields": fields})


def log_exception(event: str, error: BaseException, **fields: object) -> None:
    """Log an unexpected exception: its type and where it came from, without its message."""
    log(logging.ERROR, event, error=type(error).__qualname__, trace=_frames(error.__traceback__), **fields)


def log_loop_error(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Log what nobody caught, as a handler of the event loop: asyncio's own quotes the error, and with it any text."""
    if isinstance(error := context.get("exception"), BaseException):
        log_exception("unexpected error", error)
    else:
        log(logging.ERROR, "unexpected error", reason=str(context.get("message", "")))


class _Stream(logging.StreamHandler[TextIO]):
    """Writes the lines of one step of the event loop together: a system call for each would take as long as the rest.

    Lines of other threads, and of times without an event loop, are written at once.
    """

    def __init__(self, stream: TextIO, line: Callable[[datetime, str, str, Mapping[str, Any]], str]) -> None:
        super().__init__(stream)
        self._line = line
        self._lines: deque[str] = deque()  # which threads may add to without a lock
        self._flushing: asyncio.AbstractEventLoop | None = None  # the loop that is going to

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record: a library's, or one of ours while somebody else listens too."""
        fields: dict[str, Any] = {} if record.name == logger.name else {"logger": record.name}
        fields |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            fields |= {"error": type(record.exc_info[1]).__qualname__, "trace": _frames(record.exc_info[2])}
        try:
            message = record.getMessage()
        except Exception:
            self.handleError(record)
        else:
            self.write(record.created, record.levelno, message, fields)

    def write(self, created_s: float, level: int, event: str, fields: Mapping[str, Any]) -> None:
        """Take a line."""
        try:
            line = self._line(datetime.fromtimestamp(created_s, UTC), _level(level), event, fields)
        except (TypeError, ValueError):  # half of a pair of surrogates
            return
        self._lines.append(line)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if loop is not self._flushing:
            self._flushing = loop
            loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what there is. A line that cannot be written, on a full disk, is lost and nothing else."""
        self.acquire()
        try:
            self._flushing = None
            lines = []
            while self._lines:
                lines.append(self._lines.popleft())
            if lines:
                self.stream.write("\n".join([*lines, ""]))
            super().flush()
        except (OSError, ValueError):
            pass
        finally:
            self.release()


@functools.cache
def _level(number: int) -> str:
    return logging.getLevelName(number).lower()


def _frames(trace: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]


def _json(created: datetime, level: str, event: str, fields: Mapping[str, Any]) -> str:
    return orjson.dumps({"time": created, "level": level, "event": event, **fields}, default=str).decode()


def _console(created: datetime, level: str, event: str, fields: Mapping[str, Any]) -> str:
    rest = " ".join(f"{name}={value}" for name, value in fields.items() if name != "trace")
    trace = "".join(f"\n    {frame}" for frame in fields.get("trace", []))
    return f"{created.astimezone():%H:%M:%S.%f}"[:-3] + f" {level:7} {event} {rest}".rstrip() + trace
