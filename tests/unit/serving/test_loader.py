"""Versions are loaded, checked, watched and freed; whatever goes wrong has a reason, and frees what it took."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
from prometheus_client import CollectorRegistry

from app.catalog import VersionSpec
from app.errors import ArtifactError, NotReady
from app.inference import Development, GoldenText, Model, load_model
from app.inference.development import Histogram
from app.metrics import Metrics
from app.serving import Loader, Query, Version
from app.serving import loader as module
from tests.support.serving import engine_of, spec_of
from tests.support.waiting import HANG_S, async_until

LONG_MS = HANG_S * 1000
GOLDEN = tuple(GoldenText(text, label, 0.66) for text, label in (("good", "positive"), ("bad", "negative")))


class World:
    """A loader whose models are mocks, and what it reported."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.engine = engine_of(self.metrics)
        self.changed: list[Version] = []
        self.unloaded: list[Version] = []
        self.model = load_model(backend="mock", slots=1)
        self.open: Callable[[VersionSpec], Model] = lambda _: self.model
        self.loader = Loader(
            lambda spec: self.open(spec),  # noqa: PLW0108 - a test may replace it
            self.engine,
            self.metrics,
            on_change=self.changed.append,
            on_unload=self.unloaded.append,
        )

    def golden(self, *texts: GoldenText) -> None:
        self.monkeypatch.setattr(module, "read_golden", lambda _: texts)

    async def load(self, name: str = "m", **options: Any) -> Version:
        version = Version(spec_of())
        await self.loader.load(version, name, **options)
        return version

    def gauge(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_a_version_that_loads_is_ready_and_answers(world: World) -> None:
    version = await world.load()
    assert (version.state, version.reason, version.attempts) == ("ready", "", 1)
    assert version.info
    assert version.info.id == "m@mock"
    assert version.service
    answer = await version.service.predict(Query(["good"], LONG_MS))
    assert answer.predictions[0].label == "positive"
    assert world.unloaded == []


async def test_without_a_name_it_has_that_of_its_files(world: World) -> None:
    version = await world.load("")
    assert version.info
    assert version.info.id == "mock@mock"


async def test_two_versions_with_one_version_number_have_different_ids(world: World) -> None:
    version = await world.load(other_ids=frozenset({"m@mock", "m@mock+2"}))
    assert version.info
    assert version.info.id == "m@mock+3"


@pytest.mark.parametrize(
    ("error", "reason"), [(ArtifactError("no such model"), "no such model"), (MemoryError("secret"), "MemoryError")]
)
async def test_a_version_that_cannot_be_opened_has_a_reason(world: World, error: Exception, reason: str) -> None:
    world.open = Mock(side_effect=error)
    version = await world.load()
    assert (version.state, version.reason, version.lost) == ("failed", reason, True)
    assert world.unloaded == []  # there is nothing to free


async def test_what_was_opened_is_freed_once_if_a_later_step_fails(world: World) -> None:
    world.engine.prepare = Mock(side_effect=KeyError("secret"))  # type: ignore[method-assign]
    version = await world.load()
    assert (version.state, version.reason) == ("failed", "KeyError")
    assert world.unloaded == [version]
    world.loader.unload(version)
    assert world.unloaded == [version]


async def test_a_load_that_is_cancelled_reports_nothing(world: World) -> None:
    begun, version = asyncio.Event(), Version(spec_of())
    loop = asyncio.get_running_loop()

    def wait(_: VersionSpec) -> Model:
        loop.call_soon_threadsafe(begun.set)
        return world.model

    world.open = wait
    world.engine.prepare = Mock(side_effect=asyncio.CancelledError)  # type: ignore[method-assign]
    task = asyncio.create_task(world.loader.load(version))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert version.state == "loading"


async def test_a_version_with_a_development_set_watches_its_drift(world: World) -> None:
    shares = Histogram((0.5,), (0.5, 0.5))
    development = Development(1000, dict.fromkeys(world.model.info.labels, 1 / 3), shares, shares)
    world.monkeypatch.setattr(module, "read_development", lambda _: development)
    version = await world.load()
    assert version.statistics
    assert version.statistics.drift


class TestGoldenTexts:
    async def test_a_version_with_the_published_answers_is_ready(self, world: World) -> None:
        world.golden(*GOLDEN)
        version = await world.load()
        assert version.state == "ready"
        assert version.golden
        assert (version.golden.texts, version.golden.agreeing) == (2, 2)
        assert world.gauge("sentiment_golden_agreement", model="m", model_version="mock") == 1.0
        assert version.in_flight == 0

    async def test_a_version_with_other_answers_is_refused_and_freed(self, world: World) -> None:
        world.golden(GOLDEN[0], replace(GOLDEN[1], label="neutral"))
        version = await world.load()
        assert version.state == "failed"
        assert version.reason == (
            "1 of 2 golden texts (50%) got the answer that the model was published with; 90% are needed "
            "(SENTIMENT_GOLDEN_AGREEMENT)"
        )
        assert version.service is version.statistics is version.folder is None
        assert world.unloaded == [version]
        assert world.engine._serving == {}
        assert world.gauge("sentiment_golden_agreement", model="m", model_version="mock") is None

    async def test_a_version_that_drifts_later_fails_and_stays_in_memory(self, world: World) -> None:
        world.golden(*GOLDEN)
        version = await world.load()
        await world.loader.check_again(version)
        assert (version.state, world.changed) == ("ready", [])
        version.golden_texts = tuple(replace(each, label="neutral") for each in GOLDEN)
        await world.loader.check_again(version)
        assert (version.state, version.lost, world.changed) == ("failed", True, [version])
        assert version.reason.startswith("0 of 2 golden texts (0%)")
        assert world.loader._engine._distrusted.total() == 1
        assert version.service
        assert world.unloaded == []
        assert world.gauge("sentiment_version_failed", model="m", model_version="mock") == 1.0

    async def test_a_version_on_its_way_out_does_not_fail(self, world: World) -> None:
        version = await world.load()
        version.golden_texts = tuple(replace(each, label="neutral") for each in GOLDEN)
        version.become("draining")
        await world.loader.check_again(version)
        assert (version.state, world.changed) == ("draining", [])

    async def test_a_check_keeps_the_version_in_memory(self, world: World) -> None:
        version = await world.load()
        version.golden_texts = GOLDEN
        seen: list[int] = []
        service = version.service
        assert service

        async def recompute(*arguments: Any) -> list[Any]:
            seen.append(version.in_flight)
            return await type(service).recompute(service, *arguments)

        version.service = Mock(recompute=recompute)
        await world.loader.check_again(version)
        assert (seen, version.in_flight) == ([1], 0)

    async def test_texts_that_did_not_get_their_turn_do_not_count(self, world: World) -> None:
        world.monkeypatch.setattr(module, "_GOLDEN_TIMEOUT_S", 0)
        version = await world.load()
        version.golden_texts = GOLDEN
        await world.loader.check_again(version)
        assert (version.state, version.golden) == ("ready", None)


class TestBreaker:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("app.serving.breaker._FIRST_PAUSE_S", 0.0)

    @staticmethod
    async def fail(world: World, version: Version) -> None:
        """Let the model fail on everything until its breaker opens."""
        world.model.backend.run = Mock(side_effect=RuntimeError)  # type: ignore[method-assign]
        assert version.service
        for number in range(5):
            results = await version.service.recompute([str(number)], "me", HANG_S)
            assert isinstance(results[0], Exception)

    async def test_a_model_that_works_again_is_ready_again(self, world: World) -> None:
        version, run = await world.load(), world.model.backend.run
        world.monkeypatch.setattr("app.serving.breaker._FIRST_PAUSE_S", 0.01)
        world.monkeypatch.setattr("app.serving.breaker._ATTEMPTS", 20)
        await self.fail(world, version)
        await async_until(lambda: world.changed)
        assert (version.state, version.reason) == ("failed", "the model is failing")
        assert world.gauge("sentiment_version_failed", model="m", model_version="mock") == 1.0
        world.model.backend.run = run  # type: ignore[method-assign]
        await async_until(lambda: len(world.changed) == 2)
        assert (version.state, version.failing, version.lost) == ("ready", "", False)
        assert world.gauge("sentiment_version_failed", model="m", model_version="mock") == 0.0

    async def test_a_model_that_does_not_recover_is_lost(self, world: World) -> None:
        version = await world.load()
        await self.fail(world, version)
        await async_until(lambda: len(world.changed) == 2)
        assert (version.state, version.reason, version.lost) == ("failed", "the model did not recover", True)

    async def test_a_version_that_drains_and_fails_does_not_become_ready_again(self, world: World) -> None:
        version = await world.load()
        version.become("draining")
        await self.fail(world, version)
        await async_until(lambda: version.failing)
        assert (version.state, world.changed) == ("draining", [])
        version.recover()  # it is wanted again
        assert version.state == "failed"

    async def test_a_drifting_version_whose_model_recovers_stays_failed(self, world: World) -> None:
        version = await world.load()
        world.loader.roll_back(version, "rolled back: errors")
        world.changed.clear()
        world.loader._set_failing(version, "the model is failing")
        world.loader._set_failing(version, "")
        assert (version.state, version.reason, world.changed) == ("failed", "rolled back: errors", [])

    async def test_a_version_that_was_freed_does_not_become_ready(self, world: World) -> None:
        version = await world.load()
        world.loader._fail(version, "the golden texts differ")
        world.loader._set_failing(version, "")
        assert (version.state, world.changed) == ("failed", [])


async def test_memory_that_cannot_be_given_back_is_no_error(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "return_freed_memory", Mock(side_effect=RuntimeError("no")))
    await world.loader.tidy()
    assert caplog.records[-1].message == "freed memory not given back"


class TestRollback:
    async def test_what_is_rolled_back_stays_in_memory_and_can_be_restored(self, world: World) -> None:
        version = await world.load()
        assert version.statistics
        version.statistics.answered(1.0, failed=True)
        world.loader.roll_back(version, "rolled back: errors")
        assert (version.state, version.rolled_back, version.lost) == ("failed", True, False)
        assert (version.reason, world.changed, world.unloaded) == ("rolled back: errors", [version], [])
        assert world.gauge("sentiment_version_failed", model="m", model_version="mock") == 1.0
        world.loader.restore(version)
        assert (version.state, version.rolled_back, version.reason) == ("ready", False, "")
        assert version.statistics.recent().requests == 0
        assert world.gauge("sentiment_version_failed", model="m", model_version="mock") == 0.0

    async def test_a_version_that_is_gone_can_be_restored_in_name(self, world: World) -> None:
        version = Version(spec_of(), rolled_back=True, failing="the model is failing")
        world.loader.restore(version)
        assert (version.state, version.rolled_back) == ("failed", False)


async def test_a_version_is_freed_once_and_its_series_end(world: World) -> None:
    version = await world.load()
    assert world.gauge("sentiment_version_requests_total", model="m", model_version="mock") == 0
    world.loader.unload(version)
    world.loader.unload(version)
    assert world.unloaded == [version]
    assert world.engine._serving == {}
    assert world.gauge("sentiment_version_requests_total", model="m", model_version="mock") is None
    with pytest.raises(NotReady):
        version.enter()


async def test_after_the_last_version_is_freed_another_one_can_be_loaded(world: World) -> None:
    world.loader.unload(await world.load())
    version = await world.load()
    assert version.service
    assert (await version.service.predict(Query(["bad"], LONG_MS))).predictions[0].label == "negative"
