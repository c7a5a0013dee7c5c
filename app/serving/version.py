"""A version of a model in this process: what it is, whether it can answer, and what it has answered."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..catalog import VersionSpec
from ..errors import NotReady
from ..inference import GoldenResult, GoldenText
from ..types import ModelInfo
from .service import Service
from .statistics import Statistics

State = Literal["loading", "ready", "failed", "draining"]


@dataclass(slots=True, eq=False)
class Version:
    """`loading` until it has run and given its golden texts the right labels, then `ready`; `draining` at its end.

    It is `failed` if it could not be loaded, or stopped working; `lost` if that is for good. `reason` may name files.
    A canary that was `rolled_back` has failed until its model is changed in the models file.
    """

    spec: VersionSpec
    stamp: object = None  # of the files that it was loaded from
    state: State = "loading"
    reason: str = ""
    lost: bool = False
    rolled_back: bool = False
    failing: str = ""  # why the model runs no batches now, whatever the state
    attempts: int = 0  # to load it
    folder: Path | None = None  # of its files, while it is in memory
    info: ModelInfo | None = None
    service: Service | None = None
    statistics: Statistics | None = None
    golden_texts: tuple[GoldenText, ...] = ()
    golden: GoldenResult | None = None  # of the last check
    in_flight: int = 0  # requests
    changed_s: float = field(default_factory=time.monotonic)

    def become(self, state: State, reason: str = "") -> None:
        """Change the state."""
        self.state, self.reason, self.changed_s = state, reason, time.monotonic()

    def recover(self) -> None:
        """Be ready, unless the model is failing at the moment."""
        self.become("failed" if self.failing else "ready", self.failing)

    @property
    def public_reason(self) -> str:
        """Why it cannot answer, without names of files."""
        if self.state == "failed":
            return "the model is failing" if self.service else "the model could not be loaded"
        return {"ready": "", "loading": "the model is loading", "draining": "the model has been replaced"}[self.state]

    def predicted_wait_ms(self, caller: str) -> float:
        """How long a text of a caller that arrived now would wait."""
        return self.service.predicted_wait_ms(caller) if self.service else 0.0

    def enter(self) -> Service:
        """Return the service, for one request; until `leave`, the version stays in memory."""
        if self.service is None:
            raise NotReady(self.public_reason)
        self.in_flight += 1
        return self.service

    def leave(self) -> None:
        """A request has ended."""
        self.in_flight -= 1

    @contextmanager
    def held(self) -> Iterator[Service]:
        """Keep the version in memory, as for a request. Raises `NotReady` if it is not there."""
        service = self.enter()
        try:
            yield service
        finally:
            self.leave()
