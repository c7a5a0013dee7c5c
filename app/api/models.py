"""`GET /models`: what is served, from which files, for which part of the callers, and with what result."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter

from ..serving import Feedback, Lifecycle, ServedModel, Version
from . import model_schemas as schemas
from .openapi import problems
from .status import accept_head


def models_router(lifecycle: Lifecycle, feedback: Feedback | None) -> APIRouter:
    """Return the routes for GET and HEAD."""
    router = APIRouter(tags=["information"])
    registry = lifecycle.registry

    def status_of(model: ServedModel) -> schemas.ModelStatus:
        shares = {id(version): weight for version, weight in model.shares}
        total = sum(shares.values()) or 1.0
        return schemas.ModelStatus(
            name=model.name,
            default=model is registry.default,
            ready=bool(shares),
            versions=[_describe(each, shares.get(id(each), 0.0) / total, feedback) for each in model.versions],
        )

    @router.get("/models", responses=problems(401, 403, 431))
    async def models() -> schemas.ModelList:
        """List the models and their versions, as the process that answers has them."""
        return schemas.ModelList(models=[status_of(model) for model in registry.models.values() if model.name])

    @router.get("/models/{name}", responses=problems(401, 403, 404, 431, 503))
    async def model(name: str) -> schemas.ModelStatus:
        """Report one model and its versions."""
        return status_of(registry.find(name))

    accept_head(router)
    return router


def _describe(version: Version, share: float, feedback: Feedback | None) -> schemas.VersionStatus:
    info, statistics = version.info, version.statistics
    differences = statistics.agreement.differences() if statistics else None
    counts: Mapping[str, Any] = feedback.counts(info.id) if feedback and info else {}
    return schemas.VersionStatus(
        version=info.id if info else None,
        source=version.spec.source,
        state=version.state,
        reason=version.reason or version.public_reason,
        weight=version.spec.weight,
        share=round(share, 6),
        shadow=version.spec.shadow,
        checksum=info.checksum if info else None,
        manifest=info.manifest if info else None,
        labels=list(info.labels) if info else [],
        backend=info.backend if info else None,
        precision=info.precision if info else None,
        golden=schemas.GoldenTexts.of(version.golden),
        requests=statistics.requests if statistics else 0,
        errors=statistics.errors if statistics else 0,
        predictions=schemas.LabelCounts(dict(statistics.predictions) if statistics else {}),
        confidence=schemas.Confidences(edges=list(statistics.confidence_edges), counts=statistics.confidence)
        if statistics
        else None,
        latency_ms=schemas.Latency(**latency) if statistics and (latency := statistics.latency_ms()) else None,
        drift=schemas.DriftScores(**{name: round(value, 4) for name, value in scores.items()})
        if statistics and statistics.drift and (scores := statistics.drift.scores())
        else None,
        compared=schemas.ShadowComparison(
            texts=statistics.agreement.texts,
            agreeing=statistics.agreement.agreeing,
            mean_difference=round(differences[0], 4),
            p95_difference=round(differences[1], 4),
        )
        if statistics and differences
        else None,
        feedback=schemas.FeedbackCounts({name: schemas.LabelCounts(dict(each)) for name, each in counts.items()}),
    )
