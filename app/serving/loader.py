"""Loads the model, starts a service with it, and detects when it fails."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

from ..errors import SentimentError
from ..inference import Model, fingerprint_of
from ..logs import log, log_exception
from ..scheduling import CostModel, RunBatch, Scheduler, SchedulerLimits
from ..types import Encoding, ModelInfo, Prediction
from .breaker import Breaker
from .cache import Cache
from .lifecycle import Lifecycle
from .observer import Observer as ServiceObserver
from .resolution import Item
from .service import Service
from .shared import Entries, SharedCache, SharedPredictions

# The largest batch, in texts and tokens, unless the limits say otherwise. A processor gains nothing from more than 16
# texts. On a GPU little but the fixed cost of a batch counts (`python -m perf.profile.simulate --cost 1.5 0.0002`).
_CPU_BATCH = (16, 512)
_GPU_BATCH = (128, 16_384)


@dataclass(frozen=True, slots=True)
class ServingLimits:
    """The bounds of a service; a batch size or token limit of 0 fits the device."""

    max_batch_size: int = 0
    max_batch_tokens: int = 0
    max_queue_texts: int = 4096
    max_wait_ms: float = 1000.0
    backend_timeout_ms: float = 30_000.0
    max_text_chars: int = 10_000
    cache_entries: int = 10_000
    cache_per_caller: bool = False


class Observer(ServiceObserver, Protocol):
    """Counts what happens."""

    def batch_finished(self, texts: int, tokens: int, queue_s: float, run_s: float) -> None:
        """See `scheduling.scheduler.Observer`."""

    def refused(self, reason: str) -> None:
        """See `scheduling.scheduler.Observer`."""

    def model_loaded(self, info: ModelInfo, slots: int) -> None:
        """A model answers from now on, `slots` batches at a time."""


class Loader:
    """Turns a model into a service in `lifecycle`.

    `load` runs in a thread. `on_ready` is called once the model has run; `on_broken` when it cannot be loaded, hangs or
    keeps failing, after which the process has to be restarted.
    """

    def __init__(
        self,
        load: Callable[[], Model],
        limits: ServingLimits,
        lifecycle: Lifecycle,
        observer: Observer,
        *,
        on_ready: Callable[[], None],
        on_broken: Callable[[], None],
        shared: SharedCache | None = None,
    ) -> None:
        self._load = load
        self._limits = limits
        self._lifecycle = lifecycle
        self._observer = observer
        self._on_ready = on_ready
        self._on_broken = on_broken
        self._shared = shared
        self._recovery: asyncio.Task[None] | None = None  # the event loop holds only weak references to tasks

    async def run(self) -> None:
        """Load the model and start a service with it. Never raises."""
        started_s = time.perf_counter()
        try:
            model = await asyncio.to_thread(self._load)
            service = self._serve(model, await asyncio.to_thread(self._share, model))
            self._observer.model_loaded(model.info, model.backend.slots)
            self._lifecycle.ready(service, model.info, self._max_texts(model) * model.backend.slots)
        except SentimentError as error:
            self._broken("the model could not be loaded", str(error))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # even a panic in a library: the process would stay up without a model
            log_exception("the model could not be loaded", error)
            self._broken("the model could not be loaded", type(error).__qualname__)
        else:
            log(logging.INFO, "model loaded", seconds=round(time.perf_counter() - started_s, 2), **asdict(model.info))
            self._on_ready()

    def _share(self, model: Model) -> SharedPredictions | None:
        """Return the predictions that this model shares with those of other processes, if any."""
        if self._shared is None:
            return None
        digest = fingerprint_of(model)
        if digest is None:
            log(logging.WARNING, "shared cache not in use", reason="it is unknown which model the backend runs")
            return None
        return SharedPredictions(self._shared, Entries(digest, model.info.labels, model.info.abstain_below))

    def _serve(self, model: Model, shared: SharedPredictions | None) -> Service:
        limits = self._limits
        cost = CostModel()
        for tokens, elapsed_ms in model.warmup:
            cost.observe(tokens, elapsed_ms)
        _, max_tokens = _GPU_BATCH if model.backend.device == "cuda" else _CPU_BATCH
        stalled = "the model stopped answering"
        scheduler = Scheduler(
            self._guarded(model),
            slots=model.backend.slots,
            limits=SchedulerLimits(
                max_batch_size=self._max_texts(model),
                max_batch_tokens=limits.max_batch_tokens or max_tokens,
                max_queue_texts=limits.max_queue_texts,
                max_wait_ms=limits.max_wait_ms,
                run_timeout_s=limits.backend_timeout_ms / 1000,
            ),
            cost=cost,
            observer=self._observer,
            on_stall=lambda: self._broken(stalled, stalled),
            skips_padding=model.backend.skips_padding,
        )
        cache: Cache[bytes, Prediction, Item] = Cache(limits.cache_entries)
        return Service(
            model.tokenizer,
            scheduler,
            cache,
            self._observer,
            model=model.info.id,
            max_text_chars=limits.max_text_chars,
            cache_per_caller=limits.cache_per_caller,
            shared=shared,
        )

    def _max_texts(self, model: Model) -> int:
        """Return how many texts a batch may have."""
        max_texts, _ = _GPU_BATCH if model.backend.device == "cuda" else _CPU_BATCH
        return self._limits.max_batch_size or max_texts

    def _guarded(self, model: Model) -> RunBatch[Encoding, Prediction]:
        """Return what runs the model, with a circuit breaker around it."""
        loop = asyncio.get_running_loop()

        def recover() -> None:
            self._lifecycle.degrade("the model is failing")
            self._recovery = asyncio.create_task(self._recover(breaker))

        def on_open() -> None:
            loop.call_soon_threadsafe(recover)

        breaker: Breaker[Encoding, Prediction] = Breaker(model.runner.run, model.tokenizer.encode(""), on_open=on_open)
        return breaker.run

    async def _recover(self, breaker: Breaker[Encoding, Prediction]) -> None:
        log(logging.ERROR, "model failing", reason="several batches in a row failed, and so did the test text")
        if await breaker.recover(self._limits.backend_timeout_ms / 1000):
            log(logging.INFO, "model recovered")
            self._lifecycle.recover()
        else:
            self._broken("the model is failing", "the model did not recover")

    def _broken(self, public_reason: str, reason: str) -> None:
        """Clients get a fixed phrase. The reason may name files, so it goes to the log only."""
        self._lifecycle.degrade(public_reason, final=True)
        log(logging.CRITICAL, "broken", reason=reason)
        self._on_broken()
