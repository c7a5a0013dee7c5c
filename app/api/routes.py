"""The routes."""

import platform
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app import __version__
from app.api import schemas
from app.api.body import parse, timeout_ms
from app.api.disconnect import unless_disconnected
from app.api.openapi import documented, problems
from app.errors import InvalidInput, NotReady, TextTooLong
from app.lifecycle import Lifecycle
from app.metrics import Metrics
from app.service import Answer
from app.types import Prediction


def make_router(lifecycle: Lifecycle, metrics: Metrics, limits: schemas.Limits, *, body_timeout_s: float) -> APIRouter:
    """Return the routes over what `main` wired."""
    router = APIRouter()
    # The longest JSON of one text: each character may be written as two escapes of six bytes.
    single_bytes = 12 * limits.max_text_chars + 1024

    async def answer(request: Request, texts: list[str], options: schemas.Options, field: str) -> Answer:
        service = lifecycle.serving()
        wait_ms = timeout_ms(request, limits.request_timeout_ms)
        lifecycle.in_flight += 1
        try:
            window = options.long_text == "window"
            work = service.predict(texts, timeout_ms=wait_ms, truncate=options.truncate, window=window)
            found = await unless_disconnected(request, work)
        except InvalidInput as error:
            # The service knows a text by its index, the caller by its place in the body.
            error.loc = ("body", field) if field == "text" else ("body", field, *error.loc)
            raise
        finally:
            lifecycle.in_flight -= 1
        request.state.timings.update(tokenize=found.tokenize_ms, queue=found.queue_ms, infer=found.infer_ms)
        return found

    @router.post("/predict", **documented(schemas.PredictRequest, schemas.PredictResponse), tags=["predict"])
    async def predict(request: Request) -> Response:
        """The sentiment of one text."""
        wanted = await parse(request, schemas.PredictRequest, min(limits.max_body_bytes, single_bytes), body_timeout_s)
        found = await answer(request, [wanted.text], wanted, "text")
        return _json(_shown(found.predictions[0], wanted.top_k), {"X-Cache": found.cache})

    @router.post("/predict/batch", **documented(schemas.BatchRequest, schemas.BatchResponse), tags=["predict"])
    async def predict_batch(request: Request) -> Response:
        """The sentiments of several texts, in their order. Admitted whole or refused whole."""
        wanted = await parse(request, schemas.BatchRequest, limits.max_body_bytes, body_timeout_s)
        if len(wanted.texts) > limits.max_batch_texts:
            raise TextTooLong(f"over {limits.max_batch_texts} texts", ("body", "texts"))
        found = await answer(request, wanted.texts, wanted, "texts")
        shown = [_shown(prediction, wanted.top_k) for prediction in found.predictions]
        return _json({"predictions": shown}, {"X-Cache": found.cache})

    @router.get("/livez", tags=["probes"])
    async def livez() -> schemas.Live:
        """Whether the process runs its event loop. Never touches the model."""
        return schemas.Live(status="ok")

    @router.get("/readyz", tags=["probes"], response_model=schemas.Ready, responses=problems(503))
    async def readyz() -> schemas.Ready:
        """Whether predictions are answered: 200 when they are, 503 with the reason when not."""
        if lifecycle.status != "ok":
            raise NotReady(lifecycle.reason)
        return schemas.Ready(status="ok", reason="")

    @router.get("/healthz", tags=["probes"], responses={503: {"model": schemas.Health, "description": "Not ready."}})
    async def healthz(response: Response) -> schemas.Health:
        """Readiness with detail, for Docker, nginx and people."""
        response.status_code = 200 if lifecycle.status == "ok" else 503
        return schemas.Health(
            status=lifecycle.status,
            reason=lifecycle.reason,
            backend=lifecycle.model.get("backend"),
            device=lifecycle.model.get("device"),
            model=lifecycle.model.get("model"),
            version=__version__,
            uptime_s=round(lifecycle.uptime_s, 1),
            queue_depth=lifecycle.queue_depth,
        )

    @router.get("/info", tags=["information"], response_model=schemas.Info, responses=problems(503))
    async def info() -> dict[str, Any]:
        """The model that answers, the limits and the build."""
        if not lifecycle.model:
            raise NotReady(lifecycle.reason)
        build = {"version": __version__, "python": platform.python_version(), "platform": platform.platform()}
        return lifecycle.model | {"limits": limits, "build": build}

    @router.get("/metrics", tags=["information"], response_class=Response)
    async def prometheus() -> Response:
        """Metrics in Prometheus' text format."""
        metrics.state(
            ready=lifecycle.status == "ok", depth=lifecycle.queue_depth, wait_s=lifecycle.predicted_wait_ms / 1000
        )
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @router.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        """People who open the address in a browser want the documentation."""
        return RedirectResponse("/docs")

    for route in [route for route in router.routes if isinstance(route, APIRoute) and "GET" in (route.methods or ())]:
        # Load balancers and monitors ask this way too.
        router.add_api_route(route.path, route.endpoint, methods=["HEAD"], include_in_schema=False)
    return router


def _shown(prediction: Prediction, top_k: int | None) -> dict[str, Any]:
    scores = {label: round(score, 4) for label, score in prediction.scores.items()}
    if top_k is not None:
        best = sorted(scores, key=lambda label: -prediction.scores[label])[:top_k]
        scores = {label: score for label, score in scores.items() if label in best}
    return {
        "label": prediction.label,
        "confidence": round(prediction.confidence, 4),
        "scores": scores,
        "truncated": prediction.truncated,
    }


def _json(content: dict[str, Any], headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(content), headers=headers, media_type="application/json")
