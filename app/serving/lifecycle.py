"""Where the process is between its start and its end: what the probes report."""

import time
from dataclasses import dataclass, field
from typing import Literal

from ..errors import NotReady
from ..inference import ModelInfo
from .service import Service

Status = Literal["loading", "ok", "degraded", "draining"]


@dataclass(slots=True)
class Lifecycle:
    """`loading` until a forward pass has succeeded, then `ok`, at times `degraded`, and at the end `draining`."""

    status: Status = "loading"
    reason: str = "the model is loading"
    service: Service | None = None
    model: ModelInfo | None = None
    started_s: float = field(default_factory=time.monotonic)
    in_flight: int = 0  # predictions being answered

    @property
    def uptime_s(self) -> float:
        """Seconds since the process began."""
        return time.monotonic() - self.started_s

    @property
    def queue_depth(self) -> int:
        """Texts that wait for the model."""
        return self.service.queue_depth if self.service else 0

    @property
    def predicted_wait_ms(self) -> float:
        """How long a text that came now would wait."""
        return self.service.predicted_wait_ms if self.service else 0.0

    def ready(self, service: Service, model: ModelInfo) -> None:
        """The model is loaded and has run. One that was told to drain meanwhile stays so."""
        self.service, self.model = service, model
        if self.status == "loading":
            self.status, self.reason = "ok", ""

    def degrade(self, reason: str) -> None:
        """The model cannot answer. A process that ends goes on ending."""
        if self.status != "draining":
            self.status, self.reason = "degraded", reason

    def recover(self) -> None:
        """It can again."""
        if self.status == "degraded":
            self.status, self.reason = "ok", ""

    def drain(self) -> None:
        """The process has been told to end."""
        self.status, self.reason = "draining", "the server is shutting down"

    def serving(self) -> Service:
        """Return the service; raise `NotReady` unless the status is `ok`."""
        if self.status != "ok" or self.service is None:
            raise NotReady(self.reason)
        return self.service
