"""`create_app`: wires everything, once, from the settings."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline
from prometheus_client import PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator

from app import __version__
from app.api import errors, openapi, schemas
from app.api.auth import Authentication, keep_fresh
from app.api.information import information_router
from app.api.middleware import QUOTA_HEADERS, HeaderLimit, Recovery, RequestContext
from app.api.predict import predict_router
from app.batching import CostModel
from app.cache import Cache
from app.config import Settings, load_settings
from app.errors import SentimentError
from app.job import Job
from app.keys import Keys
from app.lifecycle import Lifecycle
from app.logs import log, log_exception
from app.metrics import Metrics
from app.model import Model, load_model
from app.rate import RateLimit
from app.scheduler import Scheduler, SchedulerLimits
from app.service import Service
from app.types import Encoding, Prediction

_DESCRIPTION = """\
The sentiment of a text, fast. `POST /predict` takes one text, `POST /predict/batch` a list.

Errors are `application/problem+json` (RFC 9457). Every answer carries `X-Request-ID`, every prediction `Server-Timing`
(milliseconds) and `X-Cache`.
"""


def create_app(
    settings: Settings | None = None,
    *,
    on_ready: Callable[[], None] = lambda: None,
    on_broken: Callable[[], None] = lambda: None,
) -> FastAPI:
    """Return the application.

    The model is loaded in the background once the server has started, so that probes are answered meanwhile.
    `on_ready` is called when it has run, `on_broken` when it cannot be loaded or has stopped answering: then the
    process is of no use any more.
    """
    settings = settings or load_settings()
    lifecycle = Lifecycle()
    keys = Keys(settings.api_keys_file) if settings.api_keys_file else None
    rate = RateLimit(settings.rate_limit, settings.rate_limit_storage) if settings.rate_limit else None
    metrics = Metrics(CollectorRegistry())
    metrics.registry.register(PROCESS_COLLECTOR)
    metrics.registry.register(PLATFORM_COLLECTOR)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        running = [asyncio.create_task(_start(settings, lifecycle, metrics, on_ready, on_broken))]
        if keys:
            log(logging.INFO, "keys loaded", names=keys.names)
            running.append(asyncio.create_task(keep_fresh(keys)))
        yield
        for task in running:
            task.cancel()
        if rate:
            await rate.close()
        lifecycle.drain()
        if lifecycle.service is not None:
            lifecycle.service.close()

    app = FastAPIOffline(
        title="rt-sentiment",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,  # the address to go to would be made of the Host that the caller sent
    )
    app.state.lifecycle = lifecycle
    limits = schemas.Limits(
        max_text_chars=settings.max_text_chars,
        max_batch_texts=settings.max_batch_texts,
        max_body_bytes=settings.max_body_bytes,
        request_timeout_ms=settings.request_timeout_ms,
    )
    app.include_router(predict_router(lifecycle, limits, rate, body_timeout_s=settings.body_timeout_s))
    app.include_router(information_router(lifecycle, metrics, limits))
    errors.install(app)
    openapi.install(app)
    _wrap(app, settings, metrics, keys)
    return app


async def _start(
    settings: Settings,
    lifecycle: Lifecycle,
    metrics: Metrics,
    on_ready: Callable[[], None],
    on_broken: Callable[[], None],
) -> None:
    """Load the model, off the event loop, and put it to work."""

    def broken(published: str, reason: str) -> None:
        """Callers get a fixed phrase; the reason, which may name files, is for the log."""
        lifecycle.degrade(published)
        log(logging.CRITICAL, "broken", reason=reason)
        on_broken()

    started_s = time.perf_counter()
    try:
        model, described = await asyncio.to_thread(_load, settings)
        slots = settings.slots or model.backend.slots
        stopped = "the model stopped answering"
        scheduler = _schedule(model, settings, slots, metrics, lambda: broken(stopped, stopped))
        cache: Cache[bytes, Prediction, Job[Encoding, Prediction]] = Cache(settings.cache_entries)
        service = Service(model.tokenizer, scheduler, cache, metrics, max_text_chars=settings.max_text_chars)
        metrics.model_loaded(described, slots)
        lifecycle.ready(service, described)
    except SentimentError as error:
        broken("the model could not be loaded", str(error))
    except Exception as error:  # whatever it is, the process would hang half alive
        log_exception("the model could not be loaded", error)
        broken("the model could not be loaded", type(error).__qualname__)
    else:
        log(logging.INFO, "model loaded", seconds=round(time.perf_counter() - started_s, 2), **described)
        on_ready()


def _wrap(app: FastAPI, settings: Settings, metrics: Metrics, keys: Keys | None) -> None:
    """Put the layers around the routes that every request passes."""
    # From the inside out.
    app.add_middleware(Recovery)
    if keys:
        app.add_middleware(Authentication, keys=keys, closed=settings.api_keys_for_all)
    app.add_middleware(HeaderLimit, max_header_bytes=settings.max_header_bytes)
    Instrumentator(should_group_status_codes=False, registry=metrics.registry).add(metrics.http).instrument(app)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID", "X-Request-Timeout-Ms"],
            expose_headers=["X-Request-ID", "X-Cache", "Server-Timing", "Retry-After", *QUOTA_HEADERS],
        )
    app.add_middleware(RequestContext)


def _load(settings: Settings) -> tuple[Model, dict[str, Any]]:
    model = load_model(
        settings.model,
        backend=settings.backend,
        device=settings.device,
        precision=settings.precision,
        slots=settings.slots,
        max_batch_size=settings.max_batch_size,
        mock_delay_ms=settings.mock_delay_ms,
        mock_failure_rate=settings.mock_failure_rate,
    )
    return model, model.describe()


def _schedule(
    model: Model, settings: Settings, slots: int, metrics: Metrics, on_stall: Callable[[], None]
) -> Scheduler[Encoding, Prediction]:
    cost = CostModel()
    for padded_tokens, elapsed_ms in model.warmup:
        cost.observe(padded_tokens, elapsed_ms)
    limits = SchedulerLimits(
        max_batch_size=settings.max_batch_size,
        max_batch_tokens=settings.max_batch_tokens,
        max_queue_texts=settings.max_queue_texts,
        max_wait_ms=settings.max_wait_ms,
        run_timeout_s=settings.backend_timeout_ms / 1000,
    )
    return Scheduler(model.runner.run, slots=slots, limits=limits, cost=cost, observer=metrics, on_stall=on_stall)
