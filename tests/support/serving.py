"""Services with given models, and states of a process, without the settings."""

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry

from app.catalog import VersionSpec
from app.inference import Model
from app.metrics import Metrics
from app.serving import Engine, Follower, Lifecycle, Loader, ServedModel, Service, ServingLimits, SharedCache, Version
from tests.support.waiting import HANG_S


def spec_of(source: str = "model", weight: float = 100.0, *, shadow: bool = False) -> VersionSpec:
    return VersionSpec(source, "path", weight, shadow)


def engine_of(metrics: Metrics | None = None, shared: SharedCache | None = None, **limits: Any) -> Engine:
    return Engine(
        ServingLimits(**{"max_wait_ms": HANG_S * 1000, **limits}),
        metrics or Metrics(CollectorRegistry()),
        on_stall=lambda: None,
        shared=shared,
    )


def service_of(model: Model, engine: Engine) -> Service:
    observer = Metrics(CollectorRegistry()).model_loaded(model.info, model.backend.slots)
    return engine.serve(engine.prepare(model), model.runner.run, observer)


def lifecycle_of(service: Any) -> Lifecycle:
    """Return the state of a process with one model, which is ready."""
    lifecycle = Lifecycle(status="ok")
    model = ServedModel("m")
    version = Version(spec_of(), state="ready", service=service)
    model.versions = model.wanted = [version]
    model.settle()
    lifecycle.registry.models["m"] = model
    lifecycle.registry.arrange(["m"])
    return lifecycle


def follower_of(
    open_model: Callable[[VersionSpec], Model],
    lifecycle: Lifecycle,
    metrics: Metrics | None = None,
    *,
    on_ready: Callable[[], None] = lambda: None,
    on_broken: Callable[[], None] = lambda: None,
    **limits: Any,
) -> Follower:
    """Return what loads models into `lifecycle`."""
    metrics = metrics or Metrics(CollectorRegistry())
    lifecycle.engine = engine_of(metrics, **limits)

    def on_change(version: Version) -> None:
        follower.changed(version)

    loader = Loader(open_model, lifecycle.engine, metrics, on_change=on_change)
    follower = Follower(loader, lifecycle.registry, lifecycle, on_ready=on_ready, on_broken=on_broken)
    return follower
