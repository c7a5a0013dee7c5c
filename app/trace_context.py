"""The trace of the request or job that runs now. Knows no library for traces: `tracing` does."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Protocol

from .types import Answer


class Trace(Protocol):
    """A request or a job, as one span with spans below it."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""

    @property
    def is_sampled(self) -> bool:
        """Whether its spans are sent. If not, only its id is of use."""

    @property
    def response_header(self) -> bytes:
        """The value of the header `traceresponse`."""

    def carrier(self) -> Mapping[str, str]:
        """Return the headers with which another process continues the trace."""

    def answered(self, answer: Answer) -> None:
        """The request got predictions: add a span for each stage."""

    def end(self, status: int, attributes: Mapping[str, object]) -> None:
        """The request was answered. To be called only if it is sampled."""


current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def exemplar() -> dict[str, str] | None:
    """Return what leads from a metric to the trace of the current request, if that is sent."""
    trace = current.get()
    return {"trace_id": trace.trace_id} if trace and trace.is_sampled else None
