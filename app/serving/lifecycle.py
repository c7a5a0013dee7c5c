"""The state of the process from start to end, which the probes report."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Literal

from ..errors import NotReady
from ..types import Answer, ModelInfo
from .engine import Engine
from .query import Query
from .registry import Registry
from .version import Version

Status = Literal["loading", "ok", "degraded", "draining"]


@dataclass(slots=True)
class Lifecycle:
    """`loading` until the default model can answer, then `ok`; `degraded` while it cannot; `draining` at last."""

    registry: Registry = field(default_factory=Registry)
    engine: Engine | None = None
    status: Status = "loading"
    reason: str = "the model is loading"
    started_s: float = field(default_factory=time.monotonic)
    _broken: bool = False
    in_flight: int = 0  # requests for which a drain waits: predictions, uploads and results of jobs
    # Set when requests without an end have to end. Not by `drain`, which a signal may call outside the event loop.
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def uptime_s(self) -> float:
        """Seconds since the process started."""
        return time.monotonic() - self.started_s

    @property
    def queue_depth(self) -> int:
        """Texts that wait for a model."""
        return self.engine.queue_depth if self.engine else 0

    @property
    def texts_at_once(self) -> int:
        """Texts that the models run at the same time."""
        return self.engine.texts_at_once if self.engine else 1

    @property
    def predicted_wait_ms(self) -> float:
        """How long a text that arrived now would wait."""
        return self.engine.predicted_wait_ms if self.engine else 0.0

    @property
    def main(self) -> Version | None:
        """The version of the default model that most callers get, or would get if it worked; None while it loads."""
        default = self.registry.default
        if default is None:
            return None
        return default.main or next((version for version in default.versions if version.info), None)

    @property
    def model(self) -> ModelInfo | None:
        """What describes that version."""
        return self.main.info if self.main else None

    def ready(self) -> None:
        """The default model can answer. A process that is draining keeps draining."""
        if self.status == "loading" or (self.status == "degraded" and not self._broken):
            self.status, self.reason = "ok", ""

    def degrade(self, reason: str, *, final: bool = False) -> None:
        """The default model cannot answer, if `final` for good. A process that is draining keeps draining."""
        self._broken |= final
        if final:
            self.ending.set()
        if self.status != "draining":
            self.status, self.reason = "degraded", reason

    def drain(self) -> None:
        """The process has been asked to stop."""
        self.status, self.reason = "draining", "the server is shutting down"

    def close(self) -> None:
        """Run nothing more; requests that still wait get `NotReady`."""
        if self.engine:
            self.engine.close()

    def serving(self, model: str | None = None, caller: str = "") -> Version:
        """Return the version of a model, by default the default one, that answers a caller.

        Raises `NotFound` if there is no such model, and `NotReady` if it, or the process, cannot answer.
        """
        self.check(model)
        return self.registry.pick(model, caller)

    def check(self, model: str | None) -> None:
        """Raise `NotReady` if the process cannot answer requests for a model, whatever its versions can do."""
        if self.status != "ok" and (model is None or self._broken or self.status != "degraded"):
            raise NotReady(self.reason)

    def answered(self, version: Version, query: Query, answer: Answer) -> None:
        """Offer what a version has answered to the shadows of its model."""
        model = self.registry.models.get(version.info.model) if version.info else None
        # A client may ask a shadow itself.
        if model and self.engine and (shadows := [each for each in model.shadows if each is not version]):
            self.engine.shadows.offer(shadows, query.texts, answer.results)
