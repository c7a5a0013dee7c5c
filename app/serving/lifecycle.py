"""The state of the process from start to end, which the probes report."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Literal

from ..errors import NotReady
from ..types import ModelInfo
from .service import Service

Status = Literal["loading", "ok", "degraded", "draining"]


@dataclass(slots=True)
class Lifecycle:
    """`loading` until a forward pass has succeeded, then `ok`; `degraded` while the model fails; `draining` at last."""

    status: Status = "loading"
    reason: str = "the model is loading"
    service: Service | None = None
    model: ModelInfo | None = None
    started_s: float = field(default_factory=time.monotonic)
    _broken: bool = False
    in_flight: int = 0  # requests for which a drain waits: predictions, uploads and results of jobs
    texts_at_once: int = 1  # that the model runs
    # Set when requests without an end have to end. Not by `drain`, which a signal may call outside the event loop.
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def uptime_s(self) -> float:
        """Seconds since the process started."""
        return time.monotonic() - self.started_s

    @property
    def queue_depth(self) -> int:
        """Texts that wait for the model."""
        return self.service.queue_depth if self.service else 0

    @property
    def predicted_wait_ms(self) -> float:
        """How long a text that arrived now would wait."""
        return self.service.predicted_wait_ms() if self.service else 0.0

    def ready(self, service: Service, model: ModelInfo, texts_at_once: int = 1) -> None:
        """The model is loaded and has run. A process that is draining keeps draining."""
        self.service, self.model, self.texts_at_once = service, model, texts_at_once
        if self.status == "loading":
            self.status, self.reason = "ok", ""

    def degrade(self, reason: str, *, final: bool = False) -> None:
        """The model cannot answer, if `final` for good. A process that is draining keeps draining."""
        self._broken |= final
        if final:
            self.ending.set()
        if self.status != "draining":
            self.status, self.reason = "degraded", reason

    def recover(self) -> None:
        """The model can answer again."""
        if self.status == "degraded" and not self._broken:
            self.status, self.reason = "ok", ""

    def drain(self) -> None:
        """The process has been asked to stop."""
        self.status, self.reason = "draining", "the server is shutting down"

    def serving(self) -> Service:
        """Return the service; raise `NotReady` unless the status is `ok`."""
        if self.status != "ok" or self.service is None:
            raise NotReady(self.reason)
        return self.service
