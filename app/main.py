"""`create_app`: wires everything, once, from the settings."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.middleware import Middleware
from starlette.routing import Route

from . import __version__
from .access.keys import Keys
from .access.rate_limit import RateLimit
from .api import errors, openapi, schemas
from .api.auth import authentication, keep_fresh, log_loaded
from .api.context import QUOTA_HEADERS
from .api.endpoint import Many, One
from .api.express import Express
from .api.gates import Gate, Gates, allowed_hosts, header_limit
from .api.middleware import Recovery, RequestContext
from .api.predict import prediction_router
from .api.status import information_router, report
from .config import PREFIX, Settings, load_settings
from .errors import KeysError
from .metrics import Metrics
from .serving.lifecycle import Lifecycle
from .serving.loader import Startup

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
    `on_ready` and `on_broken`: see `Startup`.
    """
    settings = settings or load_settings()
    lifecycle = Lifecycle()
    keys = _keys(settings)
    rate = RateLimit(settings.rate_limit, settings.rate_limit_storage) if settings.rate_limit else None
    metrics = Metrics(CollectorRegistry())
    startup = Startup(settings, lifecycle, metrics, on_ready=on_ready, on_broken=on_broken)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.openapi()  # takes 20 ms, and so would the first who asks for it, or for any route that FastAPI leads to
        inspect.getsourcelines(create_app)  # so does FastAPI with each route once; to be ready for it takes 5 ms
        running = [asyncio.create_task(startup.run())]
        if settings.workers > 1:  # a connection given to one that cannot answer yet would be one that others could have
            await running[0]
        if keys:
            log_loaded(keys)
            running.append(asyncio.create_task(keep_fresh(keys)))
        yield
        for task in running:
            task.cancel()
        lifecycle.drain()
        if lifecycle.service is not None:
            lifecycle.service.close()
        if rate:
            await rate.close()

    app = FastAPIOffline(
        title="rt-sentiment",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,  # the address to go to would be made of the Host that the caller sent
        # FastAPI's own would look for providers with each request, and its records quote what callers sent.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.lifecycle = lifecycle
    app.state.report = partial(report, lifecycle, metrics)
    app.state.on_unreadable = metrics.unreadable
    limits = schemas.Limits(
        max_text_chars=settings.max_text_chars,
        max_batch_texts=settings.max_batch_texts,
        max_body_bytes=settings.max_body_bytes,
        request_timeout_ms=settings.request_timeout_ms,
    )
    one, many = One(lifecycle, limits, rate), Many(lifecycle, limits, rate)
    gates = _gates(settings, keys)
    app.state.express = Express([one, many], gates, metrics, settings.trusted_proxies)
    routers = [
        prediction_router(one, many, body_timeout_s=settings.body_timeout_s),
        information_router(lifecycle, metrics, limits),
    ]
    for router in routers:
        app.include_router(router)
    errors.install(app)
    openapi.install(app)
    _wrap(app, gates, settings, metrics)
    routes = [route for router in (app.router, *routers) for route in router.routes]
    app.add_middleware(RequestContext, paths={route.path for route in routes if isinstance(route, Route)})
    return app


def _keys(settings: Settings) -> Keys | None:
    try:
        return Keys(settings.api_keys_file) if settings.api_keys_file else None
    except KeysError as error:
        raise KeysError(f"{PREFIX}API_KEYS_FILE: {error}") from None


def _gates(settings: Settings, keys: Keys | None) -> list[Gate]:
    gates = [header_limit(settings.max_header_bytes)]
    if settings.allowed_hosts:
        gates.append(allowed_hosts(settings.allowed_hosts))
    if keys:
        gates.append(authentication(keys, closed=settings.api_keys_for_all))
    return gates


def _wrap(app: FastAPI, gates: Sequence[Gate], settings: Settings, metrics: Metrics) -> None:
    """Put the layers around the routes that every request passes which does not take the short way."""
    app.user_middleware = [Middleware(Gates, gates), Middleware(Recovery)]
    # From here on each is put around those before it.
    instrumentator = Instrumentator(should_group_status_codes=False, registry=metrics.registry)
    instrumentator.add(
        lambda info: metrics.answered(
            info.method, info.modified_handler, int(info.modified_status), info.modified_duration
        )
    ).instrument(app)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID", "X-Request-Timeout-Ms"],
            expose_headers=["X-Request-ID", "X-Cache", "Server-Timing", "Retry-After", *QUOTA_HEADERS],
        )
