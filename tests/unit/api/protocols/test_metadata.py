"""What the Open Inference Protocol says about models and versions in each of their states."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from app.api.bodies import Bodies
from app.api.context import RequestContext
from app.api.protocols.metadata import describe, find_model, find_version
from app.api.protocols.open_inference import InferEndpoint
from app.api.protocols.repository import index_of
from app.api.schemas import Limits
from app.errors import NotFound, NotReady
from app.inference import load_model
from app.serving import Lifecycle, Service, Version
from tests.support.serving import engine_of, lifecycle_of, service_of, spec_of

MODEL = load_model(backend="mock")


@pytest.fixture
def service() -> Service:
    return service_of(MODEL, engine_of())


@pytest.fixture
def lifecycle(service: Service) -> Lifecycle:
    """One version that is ready, and others that are not; one of these is still in memory."""
    lifecycle = lifecycle_of(service)
    model = lifecycle.registry.models["m"]
    info = replace(MODEL.info, model="m")
    model.versions[0].info = replace(info, model_version="1.0+b")
    failing = Version(spec_of("f"), state="failed", reason="the model is failing", info=info, service=service)
    replaced = Version(spec_of("r"), state="draining", info=replace(info, model_version="0"))
    model.versions = [*model.versions, Version(spec_of("new")), failing, replaced]
    return lifecycle


def test_the_index_has_the_states_that_triton_has(lifecycle: Lifecycle) -> None:
    found = index_of(lifecycle, ready=False).model_dump()
    assert found == [
        {"name": "m", "version": "1.0-b", "state": "READY", "reason": ""},
        {"name": "m", "version": "", "state": "LOADING", "reason": "the model is loading"},
        {"name": "m", "version": "mock", "state": "UNAVAILABLE", "reason": "the model is failing"},
        {"name": "m", "version": "0", "state": "UNLOADING", "reason": "the model has been replaced"},
    ]
    assert index_of(lifecycle, ready=True).model_dump() == found[:1]


def test_before_the_model_has_a_name_the_index_is_empty() -> None:
    lifecycle = Lifecycle()
    lifecycle.registry.arrange([""])
    lifecycle.registry.models[""].versions = [Version(spec_of())]
    assert index_of(lifecycle, ready=False).model_dump() == []
    with pytest.raises(NotReady, match="the model is loading"):
        find_model(lifecycle, "m")


def test_only_versions_in_memory_are_found(lifecycle: Lifecycle) -> None:
    model = find_model(lifecycle, "m")
    assert [find_version(lifecycle, "m", each) for each in ("1.0-b", "mock")] == [model.versions[0], model.versions[2]]
    assert describe(model).versions == ["1.0-b", "mock"]
    assert describe(model, model.versions[2]).versions == ["mock"]
    with pytest.raises(NotFound, match=r"no such version; this server has 1\.0-b, mock of m"):
        find_version(lifecycle, "m", "0")


def test_a_model_without_a_version_in_memory_cannot_be_described(lifecycle: Lifecycle) -> None:
    model = find_model(lifecycle, "m")
    model.versions, model.shares = [Version(spec_of("new"))], []
    with pytest.raises(NotReady):
        describe(model)


@pytest.mark.parametrize(
    ("status", "model", "answers"),
    [("ok", None, True), ("degraded", None, False), ("degraded", "m", True), ("draining", "m", False)],
)
def test_another_model_answers_while_the_default_cannot(
    lifecycle: Lifecycle, status: str, model: str | None, answers: bool
) -> None:
    lifecycle.status, lifecycle.reason = status, "no"  # type: ignore[assignment]
    if answers:
        lifecycle.check(model)
        return
    with pytest.raises(NotReady, match="no"):
        lifecycle.check(model)


def test_a_version_that_fails_is_not_asked(lifecycle: Lifecycle) -> None:
    limits = Limits(
        max_text_chars=9, max_batch_texts=9, max_body_bytes=999, request_timeout_ms=9, max_upload_bytes=None
    )
    endpoint = InferEndpoint(lifecycle, limits, Bodies(999))
    context = cast("RequestContext", SimpleNamespace(key_name="key"))
    model = lifecycle.registry.models["m"]
    assert endpoint._version("m", (), context) is model.versions[0]
    assert endpoint._version("m", ("versions", "1.0-b"), context) is model.versions[0]
    with pytest.raises(NotReady, match="the model is failing"):
        endpoint._version("m", ("versions", "mock"), context)
    lifecycle.drain()
    with pytest.raises(NotReady, match="the server is shutting down"):
        endpoint._version("m", ("versions", "1.0-b"), context)
