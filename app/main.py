"""`create_app` builds the application from the settings."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from .access import RateLimit
from .api import (
    HUGGING_FACE,
    JOB_MODELS,
    OPEN_INFERENCE,
    Bodies,
    Check,
    Cors,
    Endpoint,
    FeedbackRequest,
    JobsApi,
    Limits,
    Middleware,
    PredictBatchEndpoint,
    PredictEndpoint,
    PredictStreamEndpoint,
    Protocol,
    ProxyPrefix,
    Refusals,
    allowed_hosts,
    authentication,
    fastapi_app,
    feedback_router,
    header_limit,
    is_public,
    jobs_router,
    log_loaded,
    models_router,
    one_host,
    prediction_routes,
    report,
    status_router,
    stream_routes,
    watch_keys,
)
from .config import Settings, load_settings
from .identity import open_credentials
from .jobs import JobOptions, Jobs
from .metrics import Metrics
from .models import follow, new_follower
from .serving import Feedback, Lifecycle, RedisStore, SharedCache, SharedCacheOptions
from .trace_context import exemplar

if TYPE_CHECKING:
    from .tracing import Tracing

# Of SENTIMENT_MAX_WAIT_MS: streams leave the rest to requests that cannot wait for room.
_STREAM_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Application:
    """The ASGI application, and what the process that runs it needs to know about it."""

    asgi: ASGIApp  # the middleware, around `fastapi` and the endpoints of the hot routes
    fastapi: FastAPI
    lifecycle: Lifecycle
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.asgi(scope, receive, send)

    def report(self) -> None:
        """Set the gauges to their current values."""
        report(self.lifecycle, self.metrics)


def create_app(
    settings: Settings | None = None,
    *,
    on_ready: Callable[[], None] = lambda: None,
    on_broken: Callable[[], None] = lambda: None,
) -> Application:
    """Return the ASGI application, for any ASGI server. The settings come from the environment by default.

    The model is loaded in the background once the server has started, so that probes get responses in the meantime.
    `on_ready` and `on_broken`: see `Loader`.
    """
    settings = settings or load_settings()
    lifecycle = Lifecycle()
    tracing = _tracing(settings)
    metrics = Metrics(CollectorRegistry(), exemplar if tracing else None)
    credentials = open_credentials(settings)
    refusals = Refusals()
    rate = RateLimit(settings.rate_limit, settings.rate_limit_storage) if settings.rate_limit else None
    shared = _shared_cache(settings, metrics)
    feedback = Feedback() if settings.feedback else None
    follower = new_follower(
        settings,
        lifecycle,
        metrics,
        shared,
        feedback,
        batches=tracing.observe(metrics) if tracing else metrics,
        on_ready=on_ready,
        on_broken=on_broken,
    )
    limits = _limits(settings)
    bodies = Bodies(settings.max_bodies_bytes or 16 * settings.max_body_bytes)
    authenticate = (
        authentication(credentials, protect_information=settings.api_keys_for_all, refusals=refusals)
        if credentials
        else None
    )
    jobs = JobsApi(
        Jobs(JobOptions.of(settings)) if settings.redis_url else None,
        bodies,
        settings.max_body_bytes,
        lifecycle,
        authenticate,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if lifecycle.status == "draining":
            raise RuntimeError("an application runs once; call create_app again")
        inspect.getsourcelines(create_app)  # FastAPI does this for each route once; the first call takes 5 ms
        if shared:
            shared.start()
        tasks = [asyncio.create_task(follow(settings, follower))]
        if settings.workers > 1:  # the kernel would give connections to a worker that cannot answer yet
            await follower.first.wait()
        if credentials:
            log_loaded(credentials)
            tasks.append(asyncio.create_task(watch_keys(credentials, refusals)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            follower.close()
            lifecycle.drain()
            lifecycle.close()
            await jobs.close()
            if shared:
                await shared.close()
            if rate:
                await rate.close()
            if tracing:
                await asyncio.to_thread(tracing.close)

    protocols = _protocols(settings)
    routers = [
        prediction_routes(),
        stream_routes(),
        status_router(lifecycle, metrics, limits),
        jobs_router(jobs),
        feedback_router(feedback, bodies, limits, metrics),
        models_router(lifecycle, feedback),
        *(protocol.router(lifecycle, bodies) for protocol in protocols),
    ]
    app = fastapi_app(
        lifespan,
        routers,
        is_public=partial(is_public, protect_information=settings.api_keys_for_all) if credentials else lambda *_: True,
        models=[*JOB_MODELS, FeedbackRequest, *(model for protocol in protocols for model in protocol.models)],
        page=settings.page,
    )
    stream = PredictStreamEndpoint(
        lifecycle,
        limits,
        bodies,
        rate,
        observer=metrics,
        idle_s=settings.stream_idle_s,
        max_wait_ms=_STREAM_SHARE * settings.max_wait_ms,
        authentication=authenticate,
    )
    kinds: tuple[type[Endpoint], ...] = (
        PredictEndpoint,
        PredictBatchEndpoint,
        *(protocol.endpoint for protocol in protocols),
    )
    endpoints: list[Endpoint | PredictStreamEndpoint] = [
        *(_endpoint(kind(lifecycle, limits, bodies, rate), feedback) for kind in kinds),
        stream,
    ]
    middleware = Middleware(
        app,
        endpoints={route: endpoint for endpoint in endpoints for route in endpoint.routes},
        checks=_checks(settings, authenticate),
        observer=metrics,
        paths={route.path for router in (app.router, *routers) for route in router.routes if isinstance(route, Route)},
        cors=partial(Cors, origins=settings.cors_origins),
        prefix=ProxyPrefix(settings.root_path, settings.trusted_proxies),
        rate=rate,
        has_plain_errors=lambda method, path: any(protocol.owns(method, path) for protocol in protocols),
        tracer=tracing,
    )
    return Application(middleware, app, lifecycle, metrics)


def _endpoint(endpoint: Endpoint, feedback: Feedback | None) -> Endpoint:
    endpoint.feedback = feedback
    return endpoint


def _protocols(settings: Settings) -> list[Protocol]:
    enabled = {HUGGING_FACE: settings.huggingface, OPEN_INFERENCE: settings.open_inference}
    return [protocol for protocol, is_enabled in enabled.items() if is_enabled]


def _tracing(settings: Settings) -> "Tracing | None":
    if not settings.tracing:
        return None
    from .tracing import Tracing  # which needs an extra

    return Tracing()


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_text_chars=settings.max_text_chars,
        max_batch_texts=settings.max_batch_texts,
        max_body_bytes=settings.max_body_bytes,
        request_timeout_ms=settings.request_timeout_ms,
        max_upload_bytes=settings.job_max_upload_bytes if settings.redis_url else None,
    )


def _shared_cache(settings: Settings, metrics: Metrics) -> SharedCache | None:
    if not settings.cache_redis_url:
        return None
    options = SharedCacheOptions(
        settings.cache_redis_url,
        settings.cache_redis_password_file,
        timeout_s=settings.cache_redis_timeout_ms / 1000,
        ttl_s=settings.cache_redis_ttl_s,
    )
    return SharedCache(RedisStore(options), metrics, timeout_s=options.timeout_s)


def _checks(settings: Settings, authenticate: Check | None) -> list[Check]:
    checks = [header_limit(settings.max_header_bytes), one_host]
    if settings.allowed_hosts:
        checks.append(allowed_hosts(settings.allowed_hosts))
    if authenticate:
        checks.append(authenticate)
    return checks
