"""Bring up the model: load it, put it to work, and say so when it fails."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

from ..config import Settings
from ..errors import SentimentError
from ..inference.model import Model, load_model
from ..logs import log, log_exception
from ..metrics import Metrics
from ..scheduling.cost import CostModel
from ..scheduling.item import Job
from ..scheduling.scheduler import Scheduler, SchedulerLimits
from ..types import Encoding, Prediction
from .breaker import Breaker
from .cache import Cache
from .lifecycle import Lifecycle
from .service import Service

# Texts and tokens of a batch at most, where the settings don't say. Beyond 16 texts a processor gains nothing;
# on a GPU hardly anything but the fixed cost of a batch counts (`python -m perf.simulate --cost 1.5 0.0002`).
_BATCHES = {"cpu": (16, 512), "cuda": (128, 16_384)}


class Startup:
    """From settings to a service in `lifecycle`.

    `on_ready` is called when the model has run, `on_broken` when it cannot be loaded, has stopped answering or goes on
    failing: then the process is of no use any more.
    """

    def __init__(
        self,
        settings: Settings,
        lifecycle: Lifecycle,
        metrics: Metrics,
        *,
        on_ready: Callable[[], None],
        on_broken: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._on_ready = on_ready
        self._on_broken = on_broken
        self._recovering: asyncio.Task[None] | None = None  # the loop itself holds tasks weakly

    async def run(self) -> None:
        """Load the model, off the event loop, and put it to work. Never raises."""
        started_s = time.perf_counter()
        try:
            model = await asyncio.to_thread(self._load)
            service = self._serve(model)
            self._metrics.model_loaded(model.info, model.backend.slots)
            self._lifecycle.ready(service, model.info)
        except SentimentError as error:
            self._broken("the model could not be loaded", str(error))
        except Exception as error:  # whatever it is, the process would hang half alive
            log_exception("the model could not be loaded", error)
            self._broken("the model could not be loaded", type(error).__qualname__)
        else:
            log(logging.INFO, "model loaded", seconds=round(time.perf_counter() - started_s, 2), **asdict(model.info))
            self._on_ready()

    def _load(self) -> Model:
        settings = self._settings
        return load_model(
            settings.model,
            backend=settings.backend,
            device=settings.device,
            precision=settings.precision,
            slots=settings.slots,
            workers=settings.workers,
            max_batch_size=settings.max_batch_size,
            compare=settings.compare_backends,
            mock_delay_ms=settings.mock_delay_ms,
            mock_failure_rate=settings.mock_failure_rate,
        )

    def _serve(self, model: Model) -> Service:
        settings = self._settings
        cost = CostModel()
        for tokens, elapsed_ms in model.warmup:
            cost.observe(tokens, elapsed_ms)
        texts, tokens = _BATCHES[model.backend.device]
        limits = SchedulerLimits(
            max_batch_size=settings.max_batch_size or texts,
            max_batch_tokens=settings.max_batch_tokens or tokens,
            max_queue_texts=settings.max_queue_texts,
            max_wait_ms=settings.max_wait_ms,
            run_timeout_s=settings.backend_timeout_ms / 1000,
        )
        stopped = "the model stopped answering"
        scheduler = Scheduler(
            self._guarded(model),
            slots=model.backend.slots,
            limits=limits,
            cost=cost,
            observer=self._metrics,
            on_stall=lambda: self._broken(stopped, stopped),
            packs=model.backend.packs,
        )
        cache: Cache[bytes, Prediction, Job[Encoding, Prediction]] = Cache(settings.cache_entries)
        return Service(model.tokenizer, scheduler, cache, self._metrics, max_text_chars=settings.max_text_chars)

    def _guarded(self, model: Model) -> Callable[[Sequence[Encoding]], Sequence[Prediction | Exception]]:
        loop = asyncio.get_running_loop()

        def failing() -> None:
            self._lifecycle.degrade("the model is failing")
            self._recovering = asyncio.create_task(self._recover(breaker))

        breaker: Breaker[Encoding, Prediction] = Breaker(
            model.runner.run, model.tokenizer.encode(""), on_open=lambda: _call(loop, failing)
        )
        return breaker.run

    async def _recover(self, breaker: Breaker[Encoding, Prediction]) -> None:
        log(logging.ERROR, "model failing", reason="batch after batch failed, and so did a text that must not")
        if await breaker.recover(self._settings.backend_timeout_ms / 1000):
            log(logging.INFO, "model recovered")
            self._lifecycle.recover()
        else:
            self._broken("the model is failing", "the model did not recover")

    def _broken(self, published: str, reason: str) -> None:
        """Callers get a fixed phrase; the reason, which may name files, is for the log."""
        self._lifecycle.degrade(published)
        log(logging.CRITICAL, "broken", reason=reason)
        self._on_broken()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(function)
