"""A process follows what is wanted: it loads, switches and drains, whatever changes meanwhile."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from app.catalog import Catalog, ModelSpec, VersionSpec
from app.errors import ArtifactError, ModelsFileError, NotFound, NotReady
from app.inference import Model, load_model
from app.metrics import Metrics
from app.serving import CanaryLimits, Follower, Lifecycle, Loader, Source, Version
from app.serving import follower as module
from app.serving.statistics import Statistics
from tests.support.serving import engine_of, spec_of
from tests.support.waiting import HANG_S, async_until


class World:
    """A follower of models that a test changes, all of them mocks."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, float | str]] = {}
        self.error: Exception | None = None
        self.stamps: dict[str, object] = {}
        self.bad: dict[str, str] = {}  # sources that cannot be loaded, and why
        self.gates: dict[str, threading.Event] = {}  # sources whose loading waits
        self.opened: list[str] = []
        self.unloaded: list[Version] = []
        self.looks = 0
        self.ready = self.broken = 0
        self.lifecycle = Lifecycle()
        self.registry = self.lifecycle.registry
        metrics = Metrics(CollectorRegistry())
        self.lifecycle.engine = engine_of(metrics)
        self.loader = Loader(
            self.open, self.lifecycle.engine, metrics, on_change=self.changed, on_unload=self.unloaded.append
        )
        self.follower = Follower(
            self.loader, self.registry, self.lifecycle, on_ready=self.on_ready, on_broken=self.on_broken
        )

    def changed(self, version: Version) -> None:
        self.follower.changed(version)

    def on_ready(self) -> None:
        self.ready += 1

    def on_broken(self) -> None:
        self.broken += 1

    def open(self, spec: VersionSpec) -> Model:
        self.opened.append(spec.source)
        if gate := self.gates.get(spec.source):
            assert gate.wait(HANG_S)
        if reason := self.bad.get(spec.source):
            raise ArtifactError(reason)
        return load_model(backend="mock", slots=1)

    def read(self) -> Catalog:
        self.looks += 1
        if self.error:
            raise self.error
        return Catalog(tuple(ModelSpec(name, tuple(map(_spec, each.items()))) for name, each in self.models.items()))

    def versions(self, name: str = "m") -> dict[str, str]:
        """The state of each version by its source; of several, of the last one."""
        model = self.registry.models.get(name)
        return {each.spec.source: each.state for each in model.versions} if model else {}

    def version(self, source: str, name: str = "m") -> Version:
        return [each for each in self.registry.models[name].versions if each.spec.source == source][-1]

    def shares(self, name: str = "m") -> dict[str, float]:
        model = self.registry.models.get(name)
        return {each.spec.source: weight for each, weight in model.shares} if model else {}

    async def look(self) -> None:
        """Wait until what is wanted now has been read and applied."""
        seen = self.looks
        await async_until(lambda: self.looks >= seen + 3)

    async def settled(self, shares: dict[str, float], name: str = "m") -> None:
        await async_until(lambda: self.shares(name) == shares)

    async def gone(self, source: str, name: str = "m") -> None:
        await async_until(lambda: source not in self.versions(name))


def _spec(item: tuple[str, float | str]) -> VersionSpec:
    source, weight = item
    return spec_of(source, 0, shadow=True) if isinstance(weight, str) else spec_of(source, weight)


@asynccontextmanager
async def following(**models: dict[str, float | str]) -> AsyncIterator[World]:
    world = World()
    world.models = models
    source = Source(world.read, lambda spec: world.stamps.get(spec.source), 0.001)
    task = asyncio.create_task(world.follower.follow(source))
    try:
        yield world
    finally:
        for gate in world.gates.values():
            gate.set()
        task.cancel()
        world.follower.close()
        world.lifecycle.close()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_first_model_that_cannot_be_loaded_leaves_the_others_answering() -> None:
    async with following() as world:
        world.models = {"a": {"bad": 100}, "b": {"good": 100}}
        world.bad["bad"] = "corrupt"
        await world.settled({"good": 100}, "b")
        assert (world.lifecycle.status, world.broken) == ("degraded", 0)
        assert world.lifecycle.serving("b").spec.source == "good"
        with pytest.raises(NotReady, match="could not be loaded"):
            world.lifecycle.serving()


async def test_a_start_with_a_bad_version_falls_back_to_one_with_weight_0() -> None:
    async with following() as world:
        world.bad["bad"] = "corrupt"
        world.models = {"m": {"bad": 100, "good": 0}}
        await world.settled({"good": 100})
        await world.look()
        assert world.shares() == {"good": 100}
        assert (world.lifecycle.status, world.broken) == ("ok", 0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DRAIN_POLL_S", 0.001)
    monkeypatch.setattr(module, "_CANARY_POLL_S", 0.001)


class TestStart:
    async def test_one_model_gets_the_name_of_its_files(self) -> None:
        world = World()
        await world.follower.serve(spec_of("anything"))
        assert [*world.registry.models] == ["mock"]
        assert (world.lifecycle.status, world.ready, world.follower.first.is_set()) == ("ok", 1, True)

    async def test_one_model_that_cannot_be_loaded_breaks_the_process(self) -> None:
        world = World()
        world.bad["anything"] = "/secret is corrupt"
        await world.follower.serve(spec_of("anything"))
        assert (world.lifecycle.status, world.ready, world.broken) == ("degraded", 0, 1)
        assert world.lifecycle.reason == "the model could not be loaded"
        assert world.follower.first.is_set()

    async def test_a_file_that_is_not_valid_breaks_the_process(self, caplog: pytest.LogCaptureFixture) -> None:
        world = World()
        world.error = ModelsFileError("models.yaml, line 3: no")
        await world.follower.follow(Source(world.read, lambda _: None, 0.001))
        assert (world.lifecycle.status, world.broken) == ("degraded", 1)
        assert caplog.records[-1].fields["reason"] == "models.yaml, line 3: no"  # type: ignore[attr-defined]

    async def test_an_unexpected_error_at_the_first_look_breaks_the_process(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        world = World()
        world.error = PermissionError("no")
        await world.follower.follow(Source(world.read, lambda _: None, 0.001))
        assert (world.lifecycle.status, world.broken, world.follower.first.is_set()) == ("degraded", 1, True)
        assert caplog.records[-1].fields["reason"] == "PermissionError"  # type: ignore[attr-defined]

    async def test_the_process_is_ready_once_the_first_model_answers(self) -> None:
        async with following(m={"a": 100}, other={"b": 100}) as world:
            world.gates["b"] = threading.Event()
            await async_until(lambda: world.ready)
            assert world.shares("other") == {}
            with pytest.raises(NotReady):
                world.registry.pick("other", "me")
            world.gates["b"].set()
            await world.settled({"b": 100}, "other")
            assert world.ready == 1

    async def test_the_process_breaks_if_no_version_of_the_first_model_loads(self) -> None:
        async with following(m={"a": 90, "b": 10}) as world:
            world.bad |= {"a": "corrupt", "b": "corrupt"}
            await async_until(lambda: world.broken)
            assert world.lifecycle.status == "degraded"

    async def test_another_version_answers_if_the_first_one_does_not_load(self) -> None:
        async with following(m={"a": 90, "b": 10}) as world:
            world.bad["a"] = "corrupt"
            await world.settled({"b": 10})
            assert (world.versions()["a"], world.broken, world.ready) == ("failed", 0, 1)

    async def test_a_stall_ends_the_process(self) -> None:
        world = World()
        world.follower.stop("the model stopped answering")
        assert (world.lifecycle.reason, world.broken) == ("the model stopped answering", 1)


class TestChanges:
    async def test_a_version_is_loaded_beside_the_old_one_which_then_goes(self) -> None:
        async with following(m={"a": 100}) as world:
            await world.settled({"a": 100})
            old = world.version("a")
            world.gates["b"] = threading.Event()
            world.models = {"m": {"b": 100}}
            await async_until(lambda: "b" in world.opened)
            assert world.shares() == {"a": 100}
            world.gates["b"].set()
            await world.settled({"b": 100})
            await world.gone("a")
            assert (old.state, old.service, world.unloaded) == ("draining", None, [old])
            assert world.lifecycle.status == "ok"

    async def test_weights_change_without_loading_anything(self) -> None:
        async with following(m={"a": 90, "b": 10}) as world:
            await world.settled({"a": 90, "b": 10})
            world.models = {"m": {"a": 0, "b": 100}}
            await world.settled({"b": 100})
            await world.look()
            assert (world.opened, world.versions()) == (["a", "b"], {"a": "ready", "b": "ready"})

    async def test_a_shadow_becomes_a_canary_and_back(self) -> None:
        async with following(m={"a": 100, "b": "shadow"}) as world:
            await async_until(lambda: world.versions() == {"a": "ready", "b": "ready"})
            assert world.shares() == {"a": 100}
            world.models = {"m": {"a": 90, "b": 10}}
            await world.settled({"a": 90, "b": 10})
            world.models = {"m": {"a": 100, "b": "shadow"}}
            await world.settled({"a": 100})
            assert world.opened == ["a", "b"]
            assert [each.spec.source for each in world.registry.models["m"].shadows] == ["b"]

    async def test_requests_that_run_keep_a_version_in_memory(self) -> None:
        async with following(m={"a": 100}) as world:
            await world.settled({"a": 100})
            old = world.version("a")
            old.enter()
            world.models = {"m": {"b": 100}}
            await world.settled({"b": 100})
            await world.look()
            assert (old.state, old.service is None) == ("draining", False)
            old.leave()
            await world.gone("a")
            assert world.unloaded == [old]

    async def test_a_version_that_drains_can_be_wanted_again(self) -> None:
        async with following(m={"a": 100}) as world:
            await world.settled({"a": 100})
            old = world.version("a")
            old.enter()
            for _ in range(2):  # each time, another task waits for the same version
                world.models = {"m": {"b": 100}}
                await world.settled({"b": 100})
                world.models = {"m": {"a": 100}}
                await world.settled({"a": 100})
                await world.gone("b")
            world.models = {"m": {"b": 100}}
            await world.settled({"b": 100})
            old.leave()
            await world.gone("a")
            assert world.opened == ["a", "b", "b", "b"]
            assert world.unloaded.count(old) == 1

    async def test_what_fails_while_it_drains_is_not_ready_when_it_is_wanted_again(self) -> None:
        async with following(m={"a": 90, "b": 10}) as world:
            await world.settled({"a": 90, "b": 10})
            failing = world.version("b")
            failing.enter()
            world.models = {"m": {"a": 100}}
            await world.settled({"a": 100})
            world.loader._set_failing(failing, "the model is failing")
            assert failing.state == "draining"
            world.models = {"m": {"a": 90, "b": 10}}
            await async_until(lambda: failing.state == "failed")
            assert world.shares() == {"a": 90}
            world.loader._set_failing(failing, "")
            assert world.shares() == {"a": 90, "b": 10}
            failing.leave()

    async def test_a_version_that_is_removed_while_it_loads_is_freed_afterwards(self) -> None:
        async with following(m={"a": 100}) as world:
            await world.settled({"a": 100})
            world.gates["b"] = threading.Event()
            world.models = {"m": {"a": 90, "b": 10}}
            await async_until(lambda: "b" in world.opened)
            unwanted = world.version("b")
            world.models = {"m": {"a": 100}}
            await world.look()
            assert unwanted.state == "loading"
            world.gates["b"].set()
            await world.gone("b")
            assert world.unloaded == [unwanted]
            assert world.lifecycle.engine
            assert len(world.lifecycle.engine._serving) == 1

    async def test_a_version_that_is_removed_before_its_turn_is_never_loaded(self) -> None:
        async with following(m={"a": 100}) as world:
            await world.settled({"a": 100})
            world.gates["b"] = threading.Event()
            world.models = {"m": {"a": 100, "b": 0, "c": 0}}
            await async_until(lambda: "b" in world.opened)
            world.models = {"m": {"a": 100, "b": 0}}
            await world.look()
            world.gates["b"].set()
            await world.gone("c")
            assert (world.opened, world.versions()) == (["a", "b"], {"a": "ready", "b": "ready"})

    async def test_a_version_that_is_wanted_again_before_its_turn_is_loaded_once(self) -> None:
        async with following(m={"a": 100}) as world:
            await world.settled({"a": 100})
            world.gates["b"] = threading.Event()
            world.models = {"m": {"a": 100, "b": 0, "c": 0}}
            await async_until(lambda: "b" in world.opened)
            world.models = {"m": {"a": 100, "b": 0}}
            await world.look()
            world.models = {"m": {"a": 90, "b": 0, "c": 10}}
            await world.look()
            world.gates["b"].set()
            await world.settled({"a": 90, "c": 10})
            assert world.opened == ["a", "b", "c"]

    async def test_a_weight_that_changes_while_a_version_loads_counts(self) -> None:
        async with following(m={"a": 100}) as world:
            await world.settled({"a": 100})
            world.gates["b"] = threading.Event()
            world.models = {"m": {"a": 100, "b": "shadow"}}
            await async_until(lambda: "b" in world.opened)
            world.models = {"m": {"a": 70, "b": 30}}
            await world.look()
            world.gates["b"].set()
            await world.settled({"a": 70, "b": 30})
            assert world.opened == ["a", "b"]

    async def test_a_rollback_counts_at_once_while_another_version_loads(self) -> None:
        async with following(m={"a": 90, "b": 10}) as world:
            await world.settled({"a": 90, "b": 10})
            world.gates["c"] = threading.Event()
            world.models = {"m": {"a": 90, "b": 0, "c": 10}}
            await world.settled({"a": 90})
            assert "c" not in world.shares()


class TestFailures:
    async def test_a_new_version_that_does_not_load_leaves_the_old_one(self) -> None:
        async with following(m={"a": 100}) as world:
            await world.settled({"a": 100})
            world.bad["b"] = "too large"
            world.models = {"m": {"b": 100}}
            await async_until(lambda: world.versions().get("b") == "failed")
            await world.look()
            assert (world.shares(), world.version("b").reason) == ({"a": 100}, "too large")
            assert (world.lifecycle.status, world.broken) == ("ok", 0)
            assert world.unloaded == []

    async def test_new_files_at_the_same_place_are_loaded_and_switched_to(self) -> None:
        async with following(m={"a": 90, "b": 10}) as world:
            await world.settled({"a": 90, "b": 10})
            old = world.version("a")
            world.stamps["a"] = "new"
            await async_until(lambda: old in world.unloaded)
            assert (world.opened, world.shares()) == (["a", "b", "a"], {"a": 90, "b": 10})
            assert world.version("a") is not old

    async def test_bad_files_at_the_same_place_leave_the_old_version_and_heal(self) -> None:
        async with following(m={"a": 90, "b": 10}) as world:
            await world.settled({"a": 90, "b": 10})
            old = world.version("a")
            world.bad["a"], world.stamps["a"] = "corrupt", "bad"
            await async_until(lambda: world.version("a").state == "failed")
            await world.look()
            assert [each for each, _ in world.registry.models["m"].shares] == [old, world.version("b")]
            del world.bad["a"]
            world.stamps["a"] = "good"
            await async_until(lambda: old in world.unloaded)
            assert world.shares() == {"a": 90, "b": 10}
            assert len(world.versions()) == 2

    async def test_a_failed_version_is_tried_again_with_longer_and_longer_pauses(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now_s = 1000.0
        clock = SimpleNamespace(monotonic=lambda: now_s)
        monkeypatch.setattr("app.serving.version.time", clock)
        monkeypatch.setattr(module, "time", clock)
        async with following(m={"a": 100, "b": 0}) as world:
            world.bad["b"] = "corrupt"
            for attempt, pause_s in enumerate((5, 10, 20, 40, 80, 160, 300, 300), 1):
                await async_until(lambda n=attempt: world.opened.count("b") == n)
                await async_until(lambda: world.versions().get("b") == "failed")
                assert world.version("b").attempts == attempt
                now_s += pause_s - 1
                await world.look()
                assert world.opened.count("b") == attempt
                now_s += 1
            del world.bad["b"]
            await async_until(lambda: world.versions().get("b") == "ready")
            assert len(world.registry.models["m"].versions) == 2

    async def test_a_version_that_was_lost_is_loaded_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_FIRST_RETRY_S", 0.0)
        async with following(m={"a": 90, "b": 10}) as world:
            await world.settled({"a": 90, "b": 10})
            lost = world.version("b")
            lost.lost = True
            world.loader._set_failing(lost, "the model did not recover")
            await async_until(lambda: lost in world.unloaded)
            await world.settled({"a": 90, "b": 10})
            assert world.version("b") is not lost

    async def test_the_process_is_degraded_while_its_only_version_fails(self) -> None:
        async with following(m={"a": 100}) as world:
            await world.settled({"a": 100})
            version = world.version("a")
            world.loader._set_failing(version, "the model is failing")
            assert (world.lifecycle.status, world.lifecycle.reason) == ("degraded", "the model is failing")
            world.loader._set_failing(version, "")
            assert (world.lifecycle.status, world.broken, world.ready) == ("ok", 0, 1)

    async def test_a_version_that_is_lost_for_good_breaks_the_process(self) -> None:
        async with following(m={"a": 100}) as world:
            await world.settled({"a": 100})
            world.version("a").lost = True
            world.loader._set_failing(world.version("a"), "the model did not recover")
            assert (world.lifecycle.status, world.broken) == ("degraded", 1)

    async def test_a_file_that_becomes_invalid_is_reported_once(self, caplog: pytest.LogCaptureFixture) -> None:
        def lines() -> int:
            return sum(record.message.startswith("models file not usable") for record in caplog.records)

        async with following(m={"a": 100}) as world:
            await world.settled({"a": 100})
            for number, error in enumerate([ModelsFileError("no"), ModelsFileError("not yet"), OSError("secret")], 1):
                world.error = error
                await world.look()
                assert (lines(), world.shares()) == (number, {"a": 100})
            world.error = None
            world.models = {"m": {"b": 100}}
            await world.settled({"b": 100})
            world.error = OSError("secret")
            await world.look()
            assert lines() == 4
            assert "secret" not in caplog.text


class TestModels:
    async def test_a_new_order_changes_the_default(self) -> None:
        async with following(m={"a": 100}, other={"b": 100}) as world:
            await world.settled({"b": 100}, "other")
            assert world.registry.find(None).name == "m"
            world.models = {"other": {"b": 100}, "m": {"a": 100}}
            await async_until(lambda: world.registry.find(None).name == "other")
            assert world.opened == ["a", "b"]

    async def test_a_model_that_is_removed_is_gone(self) -> None:
        async with following(m={"a": 100}, other={"b": 100}) as world:
            await world.settled({"b": 100}, "other")
            version = world.version("b", "other")
            version.enter()
            world.models = {"m": {"a": 100}}
            await async_until(lambda: version.state == "draining")
            with pytest.raises(NotFound, match=r"this server has m$"):
                world.registry.find("other")
            version.leave()
            await async_until(lambda: [*world.registry.models] == ["m"])

    async def test_a_model_that_is_renamed_answers_all_the_time(self) -> None:
        async with following(old={"a": 100}) as world:
            await world.settled({"a": 100}, "old")
            world.gates["a"] = threading.Event()
            world.models = {"new": {"a": 100}}
            await async_until(lambda: world.opened == ["a", "a"])
            assert (world.lifecycle.status, world.registry.find(None).name) == ("ok", "old")
            assert world.shares("old") == {"a": 100}
            world.gates["a"].set()
            await async_until(lambda: [*world.registry.models] == ["new"])
            assert (world.lifecycle.status, world.registry.find(None).name) == ("ok", "new")
            assert len(world.unloaded) == 1

    async def test_a_new_first_model_that_does_not_load_changes_nothing(self) -> None:
        async with following(m={"a": 100}) as world:
            await world.settled({"a": 100})
            world.bad["b"] = "corrupt"
            world.models = {"new": {"b": 100}, "m": {"a": 100}}
            await async_until(lambda: world.versions("new").get("b") == "failed")
            assert (world.lifecycle.status, world.broken) == ("ok", 0)
            assert world.registry.find(None).name == "m"

    async def test_a_model_that_fails_does_not_affect_the_process_of_another(self) -> None:
        async with following(m={"a": 100}, other={"b": 100}) as world:
            world.bad["b"] = "corrupt"
            await async_until(lambda: world.versions("other").get("b") == "failed")
            assert (world.lifecycle.status, world.broken) == ("ok", 0)
            with pytest.raises(NotReady, match=r"^the model could not be loaded$"):
                world.registry.pick("other", "me")

    async def test_two_models_may_have_the_same_source(self) -> None:
        async with following(m={"a": 100}, other={"a": 100}) as world:
            await world.settled({"a": 100}, "other")
            assert world.opened == ["a", "a"]
            ids = [world.version("a", name).info for name in ("m", "other")]
            assert [each.id for each in ids if each] == ["m@mock", "other@mock"]


class TestChecks:
    async def test_versions_answer_their_golden_texts_again_and_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        checked: list[str] = []

        async def check_again(version: Version) -> None:
            checked.append(version.spec.source)
            if len(checked) == 1:
                raise RuntimeError("once")

        async with following(m={"a": 100, "b": "shadow"}) as world:
            world.bad["c"] = "corrupt"
            await async_until(lambda: world.versions() == {"a": "ready", "b": "ready"})
            world.models["m"]["c"] = 0
            await async_until(lambda: world.versions().get("c") == "failed")
            monkeypatch.setattr(world.loader, "check_again", check_again)
            task = asyncio.create_task(world.follower.check_golden_texts(0.001))
            await async_until(lambda: len(checked) >= 5)
            task.cancel()
            assert set(checked) == {"a", "b"}

    async def test_without_an_interval_nothing_is_checked(self) -> None:
        await World().follower.check_golden_texts(0)
        await World().follower.check_canaries(CanaryLimits())

    async def test_a_load_that_is_cancelled_at_shutdown_changes_nothing(self) -> None:
        async with following(m={"a": 100}) as world:
            await world.settled({"a": 100})
            world.gates["b"] = threading.Event()
            world.models = {"m": {"b": 100}}
            await async_until(lambda: "b" in world.opened)
            world.follower.close()
            await asyncio.sleep(0)
            world.gates["b"].set()
            assert (world.shares(), world.unloaded) == ({"a": 100}, [])


class TestCanaries:
    @staticmethod
    def answer(version: Version, requests: int, *, errors: int = 0, seconds: float = 0.01) -> None:
        assert isinstance(version.statistics, Statistics)
        for number in range(requests):
            version.statistics.answered(seconds, failed=number < errors)

    @asynccontextmanager
    async def judging(self, limits: CanaryLimits, **models: Any) -> AsyncIterator[World]:
        async with following(m={"a": 90, "b": 10, **models}) as world:
            await async_until(lambda: [*world.versions().values()] == ["ready"] * (2 + len(models)))
            task = asyncio.create_task(world.follower.check_canaries(limits))
            yield world
            task.cancel()

    async def test_a_canary_with_errors_loses_its_callers_until_its_model_changes(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with self.judging(CanaryLimits(max_error_rate=0.05)) as world:
            self.answer(world.version("a"), 1000)
            self.answer(world.version("b"), 200, errors=20)
            await world.settled({"a": 90})
            version = world.version("b")
            assert version.reason.startswith("rolled back: 10.0% of its newest 200 requests failed, and 0.0% of")
            assert (version.state, world.lifecycle.status) == ("failed", "ok")
            world.models["other"] = {"c": 100}
            await world.settled({"c": 100}, "other")
            await world.look()
            assert (version.state, world.opened) == ("failed", ["a", "b", "c"])
            assert sum(record.message == "version failed" for record in caplog.records) == 1
            world.models["m"] = {"a": 80, "b": 20}
            await world.settled({"a": 80, "b": 20})
            assert (version.state, version.reason, world.opened) == ("ready", "", ["a", "b", "c"])
            await world.look()
            assert world.shares() == {"a": 80, "b": 20}

    async def test_a_slow_canary_loses_its_callers(self) -> None:
        async with self.judging(CanaryLimits(max_p99_ratio=2)) as world:
            self.answer(world.version("a"), 500)
            self.answer(world.version("b"), 500, seconds=0.03)
            await world.settled({"a": 90})
            assert "is 30.0 ms, and 10.0 ms" in world.version("b").reason

    async def test_the_version_with_most_callers_is_never_rolled_back(self) -> None:
        async with self.judging(CanaryLimits(max_error_rate=0.05), c=5) as world:
            self.answer(world.version("a"), 1000, errors=500)
            self.answer(world.version("b"), 1000, errors=600)
            self.answer(world.version("c"), 1000, errors=100)
            await world.settled({"a": 90, "c": 5})

    async def test_new_files_of_a_canary_that_was_rolled_back_are_loaded(self) -> None:
        async with self.judging(CanaryLimits(max_error_rate=0.05)) as world:
            self.answer(world.version("b"), 200, errors=200)
            await world.settled({"a": 90})
            old = world.version("b")
            world.stamps["b"] = "new"
            await world.settled({"a": 90, "b": 10})
            await async_until(lambda: old in world.unloaded)
