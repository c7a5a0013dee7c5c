"""What the settings leave open is decided by what was loaded."""

from unittest.mock import patch

import pytest
from prometheus_client import CollectorRegistry

from app.config import Settings
from app.inference.model import load_model
from app.metrics import Metrics
from app.scheduling.scheduler import Scheduler
from app.serving.lifecycle import Lifecycle
from app.serving.loader import Startup


@pytest.mark.parametrize(
    ("device", "settings", "largest"),
    [("cpu", {}, 16), ("cuda", {}, 128), ("cuda", {"max_batch_size": 20}, 20), ("cuda", {"max_batch_tokens": 12}, 12)],
)
async def test_batches_are_as_large_as_suits_the_device(device: str, settings: dict[str, int], largest: int) -> None:
    model = load_model("", backend="mock", slots=1)
    model.backend.device = device
    lifecycle, metrics = Lifecycle(), Metrics(CollectorRegistry())
    given = Settings(backend="mock", **settings)  # type: ignore[arg-type]
    with (
        patch("app.serving.loader.load_model", return_value=model),
        patch.object(metrics, "batch_finished", wraps=metrics.batch_finished) as finished,
    ):
        await Startup(given, lifecycle, metrics, on_ready=lambda: None, on_broken=lambda: None).run()
        await lifecycle.serving().predict([f"number{number}" for number in range(200)], timeout_ms=5000)
        lifecycle.serving().close()
    assert max(call.args[0] for call in finished.call_args_list) == largest


@pytest.mark.parametrize("compare", [True, False])
async def test_backends_are_compared_when_the_settings_say_so(compare: bool) -> None:
    model = load_model("", backend="mock")
    with patch("app.serving.loader.load_model", return_value=model) as load:
        given = Settings(compare_backends=compare)
        await Startup(
            given, Lifecycle(), Metrics(CollectorRegistry()), on_ready=lambda: None, on_broken=lambda: None
        ).run()
    assert load.call_args.kwargs["compare"] == compare


@pytest.mark.parametrize("packs", [True, False])
async def test_batches_are_formed_as_suits_the_backend(packs: bool) -> None:
    model = load_model("", backend="mock")
    model.backend.packs = packs
    with (
        patch("app.serving.loader.load_model", return_value=model),
        patch("app.serving.loader.Scheduler", wraps=Scheduler) as scheduler,
    ):
        await Startup(
            Settings(), Lifecycle(), Metrics(CollectorRegistry()), on_ready=lambda: None, on_broken=lambda: None
        ).run()
    assert scheduler.call_args.kwargs["packs"] == packs
