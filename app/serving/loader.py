"""Loads one version of a model beside those that answer, and watches whether it goes on working."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Protocol

from ..catalog import VersionSpec
from ..errors import SentimentError
from ..inference import Model
from ..logs import log, log_exception
from ..scheduling import RunBatch
from ..types import Encoding, ModelInfo, Prediction
from .breaker import Breaker
from .engine import Engine
from .observer import Observer as ServiceObserver
from .version import Version


class Observer(Protocol):
    """Counts what happens."""

    def model_loaded(self, info: ModelInfo, slots: int) -> ServiceObserver:
        """A model can answer from now on, `slots` batches at a time; return what counts its answers."""


class Loader:
    """Turns versions into services of `engine`. `open_model` blocks, so it runs in a thread.

    `on_change` is called whenever a version that was ready has failed, or works again.
    """

    def __init__(
        self,
        open_model: Callable[[VersionSpec], Model],
        engine: Engine,
        observer: Observer,
        *,
        on_change: Callable[[Version], None],
    ) -> None:
        self._open_model = open_model
        self._engine = engine
        self._observer = observer
        self._on_change = on_change
        self._recoveries: set[asyncio.Task[None]] = set()  # the event loop holds only weak references to tasks

    async def load(self, version: Version, name: str = "") -> None:
        """Load a version of the model `name`; by default, of what its files say. It is `ready` or `failed` then."""
        started_s = time.perf_counter()
        version.attempts += 1
        source = version.spec.source
        try:
            model = await asyncio.to_thread(self._open_model, version.spec)
            model = replace(model, info=replace(model.info, model=name or model.info.model))
            prepared = await asyncio.to_thread(self._engine.prepare, model)
            observer = self._observer.model_loaded(model.info, model.backend.slots)
            version.service = self._engine.serve(prepared, self._guarded(model, version), observer)
            version.info = model.info
            version.become("ready")
        except SentimentError as error:
            self._fail(version, str(error))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # even a panic in a library: the process would stay up without a model
            log_exception("the model could not be loaded", error)
            self._fail(version, type(error).__qualname__)
        else:
            seconds = round(time.perf_counter() - started_s, 2)
            log(logging.INFO, "model loaded", source=source, seconds=seconds, **asdict(model.info))

    def unload(self, version: Version) -> None:
        """Free the memory of a version that answers no requests any more."""
        if version.service:
            self._engine.retire(version.service)
        version.service = None

    @staticmethod
    def _fail(version: Version, reason: str) -> None:
        version.lost = True
        version.become("failed", reason)
        log(logging.ERROR, "version failed", source=version.spec.source, reason=reason)

    def _guarded(self, model: Model, version: Version) -> RunBatch[Encoding, Prediction]:
        """Return what runs the model, with a circuit breaker around it."""
        loop = asyncio.get_running_loop()

        def recover() -> None:
            version.become("failed", "the model is failing")
            self._on_change(version)
            recovery = asyncio.create_task(self._recover(breaker, version))
            self._recoveries.add(recovery)
            recovery.add_done_callback(self._recoveries.discard)

        def on_open() -> None:
            loop.call_soon_threadsafe(recover)

        breaker: Breaker[Encoding, Prediction] = Breaker(model.runner.run, model.tokenizer.encode(""), on_open=on_open)
        return breaker.run

    async def _recover(self, breaker: Breaker[Encoding, Prediction], version: Version) -> None:
        log(logging.ERROR, "model failing", reason="several batches in a row failed, and so did the test text")
        if await breaker.recover(self._engine.limits.backend_timeout_ms / 1000):
            log(logging.INFO, "model recovered")
            version.become("ready")
        else:
            version.lost = True
            version.become("failed", "the model did not recover")
        self._on_change(version)
