"""The setting of traces: a part of `Settings`."""

from pydantic import Field
from pydantic_settings import BaseSettings


class TracingSettings(BaseSettings):
    """Everything else about traces is in the standard variables of OpenTelemetry, `OTEL_*`."""

    tracing: bool = Field(
        False,
        description="spans of requests, batches and jobs, sent to an OpenTelemetry collector; the variables OTEL_* say "
        "where to and how many",
    )
