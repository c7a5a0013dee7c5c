"""The routes that describe the service: probes, information, metrics."""

import asyncio
import platform
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from fastapi.routing import APIRoute

from .. import __version__
from ..errors import NotReady
from ..metrics import Metrics
from ..serving import Lifecycle
from . import schemas
from .model_schemas import GoldenTexts
from .openapi import problems

_NOT_READY: dict[str, Any] = {
    "model": schemas.Health,
    "description": "Predictions are not available.",
    "content": {
        "application/json": {
            "example": {
                "status": "degraded",
                "reason": "the model is failing",
                "backend": "onnx",
                "device": "cpu",
                "model": "sentiment-en",
                "version": __version__,
                "uptime_s": 86400.0,
                "queue_depth": 0,
                "golden": {"texts": 48, "agreeing": 48, "agreement": 1.0},
            }
        }
    },
}


_METRICS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "application/openmetrics-text": {"schema": {"type": "string"}},
        }
    }
}


def report(lifecycle: Lifecycle, metrics: Metrics) -> None:
    """Set the gauges to their current values."""
    wait_s = lifecycle.predicted_wait_ms / 1000
    for model in lifecycle.registry.models.values():
        for statistics in [version.statistics for version in model.versions if version.statistics]:
            if statistics.drift and (scores := statistics.drift.scores()):
                statistics.metrics.drifted(scores)
    metrics.count_versions(lifecycle.registry.count_versions())
    metrics.state(ready=lifecycle.status == "ok", depth=lifecycle.queue_depth, wait_s=wait_s)


def status_router(lifecycle: Lifecycle, metrics: Metrics, limits: schemas.Limits) -> APIRouter:
    """Return the routes for GET and HEAD."""
    router = APIRouter()
    rendering = asyncio.Lock()

    @router.get("/livez", tags=["probes"], responses=problems(431))
    async def livez() -> schemas.Live:
        """Report whether the process responds. Does not use the model."""
        return schemas.Live(status="ok")

    @router.get("/readyz", tags=["probes"], response_model=schemas.Ready, responses=problems(431, 503))
    async def readyz() -> schemas.Ready:
        """Report whether predictions are available: 200, or 503 with the reason."""
        if lifecycle.status != "ok":
            raise NotReady(lifecycle.reason)
        return schemas.Ready(status="ok", reason="")

    @router.get("/healthz", tags=["probes"], responses=problems(431) | {503: _NOT_READY})
    async def healthz(response: Response) -> schemas.Health:
        """Report readiness with details, for Docker, nginx and people."""
        model = lifecycle.model
        response.status_code = 200 if lifecycle.status == "ok" else 503
        return schemas.Health(
            status=lifecycle.status,
            reason=lifecycle.reason,
            backend=model.backend if model else None,
            device=model.device if model else None,
            model=model.model if model else None,
            version=__version__,
            uptime_s=round(lifecycle.uptime_s, 1),
            queue_depth=lifecycle.queue_depth,
            golden=GoldenTexts.of(lifecycle.main.golden) if lifecycle.main else None,
        )

    @router.get("/info", tags=["information"], response_model=schemas.Info, responses=problems(431, 503))
    async def info() -> dict[str, Any]:
        """Report the model, the limits and the build."""
        if not lifecycle.model:
            raise NotReady(lifecycle.reason)
        build = {"version": __version__, "python": platform.python_version(), "platform": platform.platform()}
        return asdict(lifecycle.model) | {"limits": limits, "build": build}

    @router.get(
        "/metrics", name="metrics", tags=["information"], response_class=Response, responses=_METRICS | problems(431)
    )
    async def prometheus(accept: Annotated[str, Header(include_in_schema=False)] = "") -> Response:
        """Return the metrics in the Prometheus text format, or as OpenMetrics if `Accept` names it first."""
        report(lifecycle, metrics)
        # In a thread, because it takes milliseconds and reads files if there are several workers. One at a time,
        # because each such thread competes with the event loop for the interpreter.
        async with rendering:
            content, content_type = await asyncio.to_thread(metrics.exposition, accept)
        return Response(content, headers={"content-type": content_type})

    accept_head(router)
    return router


def accept_head(router: APIRouter) -> None:
    """Answer HEAD on the routes for GET: load balancers, monitors and checkers of links use it."""
    for route in [route for route in router.routes if isinstance(route, APIRoute) and "GET" in (route.methods or ())]:
        router.add_api_route(route.path, route.endpoint, methods=["HEAD"], include_in_schema=False)
