"""A loaded model becomes a service, and one that cannot be loaded ends the process."""

from collections.abc import Callable
from unittest.mock import patch

import pytest
from prometheus_client import CollectorRegistry

from app.errors import ArtifactError
from app.inference import Model, load_model
from app.metrics import Metrics
from app.scheduling import Scheduler
from app.serving import Lifecycle, Loader, Query, ServingLimits
from tests.support.waiting import HANG_S


def loader(load: Callable[[], Model], lifecycle: Lifecycle, metrics: Metrics | None = None, **limits: int) -> Loader:
    return Loader(
        load,
        ServingLimits(**{"max_wait_ms": HANG_S * 1000, **limits}),
        lifecycle,
        metrics or Metrics(CollectorRegistry()),
        on_ready=lambda: None,
        on_broken=lambda: None,
    )


@pytest.mark.parametrize(
    ("device", "limits", "largest"),
    [("cpu", {}, 16), ("cuda", {}, 128), ("cuda", {"max_batch_size": 20}, 20), ("cuda", {"max_batch_tokens": 12}, 12)],
)
async def test_the_largest_batch_fits_the_device(device: str, limits: dict[str, int], largest: int) -> None:
    model = load_model("", backend="mock", slots=1)
    model.backend.device = device
    lifecycle, metrics = Lifecycle(), Metrics(CollectorRegistry())
    with patch.object(metrics, "batch_finished", wraps=metrics.batch_finished) as finished:
        await loader(lambda: model, lifecycle, metrics, **limits).run()
        service = lifecycle.serving()
        await service.predict(Query([f"number{number}" for number in range(200)], HANG_S * 1000))
        service.close()
    assert max(call.args[0] for call in finished.call_args_list) == largest


@pytest.mark.parametrize("skips_padding", [True, False])
async def test_the_scheduler_mixes_lengths_if_padding_is_skipped(skips_padding: bool) -> None:
    model = load_model("", backend="mock")
    model.backend.skips_padding = skips_padding
    with patch("app.serving.loader.Scheduler", wraps=Scheduler) as scheduler:
        await loader(lambda: model, Lifecycle()).run()
    assert scheduler.call_args.kwargs["skips_padding"] == skips_padding


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ArtifactError("no such model"), "no such model"), (ZeroDivisionError("x"), "ZeroDivisionError")],
)
async def test_a_model_that_cannot_be_loaded_breaks_the_process(
    error: Exception, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Model:
        raise error

    lifecycle, broken = Lifecycle(), list[bool]()
    await Loader(
        fail,
        ServingLimits(),
        lifecycle,
        Metrics(CollectorRegistry()),
        on_ready=lambda: broken.append(False),
        on_broken=lambda: broken.append(True),
    ).run()
    assert broken == [True]
    assert (lifecycle.status, lifecycle.reason) == ("degraded", "the model could not be loaded")
    assert [vars(record)["fields"]["reason"] for record in caplog.records if record.message == "broken"] == [reason]


async def test_two_services_in_one_process_answer_with_their_own_labels() -> None:
    models = [load_model("", backend="mock", slots=1) for _ in range(2)]
    models[1].runner._labels = ("one", "two", "three")
    lifecycles = [Lifecycle(), Lifecycle()]
    for model, lifecycle in zip(models, lifecycles, strict=True):
        await loader(lambda model=model: model, lifecycle).run()  # type: ignore[misc]
    answers = [await lifecycle.serving().predict(Query(["good"], HANG_S * 1000)) for lifecycle in lifecycles]
    assert [answer.predictions[0].label for answer in answers] == ["positive", "three"]
    for lifecycle in lifecycles:
        lifecycle.serving().close()


async def test_a_panic_while_loading_breaks_the_process() -> None:
    class Panic(BaseException):
        """As an exception from a library written in Rust."""

    def panic() -> Model:
        raise Panic

    lifecycle = Lifecycle()
    await loader(panic, lifecycle).run()
    assert lifecycle.status == "degraded"
    lifecycle.recover()
    assert lifecycle.status == "degraded"
