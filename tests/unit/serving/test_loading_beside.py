"""A version is loaded at a lower priority than that of those that answer, and leaves no memory behind."""

import asyncio
import os
import sys
import threading
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from app.catalog import Catalog, VersionSpec
from app.inference import GoldenText, Model, load_model
from app.serving import Lifecycle, Source, loader
from tests.support.catalog import one_model, version
from tests.support.serving import follower_of
from tests.support.waiting import HANG_S

TEXTS = (GoldenText("good", "positive", 0.5), GoldenText("bad", "negative", 0.5))


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


async def until(condition: Any) -> None:
    async with asyncio.timeout(HANG_S):
        while not condition():  # noqa: ASYNC110 - a thread changes it
            await asyncio.sleep(0)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
async def test_a_version_gives_way_to_those_that_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, int] = {}

    def open_model(_: VersionSpec) -> Model:
        seen["open"] = niceness()
        model = load_model(backend="mock")
        run = model.backend.run

        def noted(batch: Any) -> Any:
            seen["golden texts"] = niceness()
            return run(batch)

        monkeypatch.setattr(model.backend, "run", noted)
        return model

    monkeypatch.setattr(loader, "read_golden", lambda _: TEXTS)
    lifecycle = Lifecycle()
    follower = follower_of(open_model, lifecycle)
    await follower.serve(version("model", 100))
    before = niceness()
    assert seen == {"open": min(19, before + 5), "golden texts": min(19, before + 10)}


async def test_a_model_that_was_replaced_leaves_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[weakref.ref[Any]] = []
    alive_at_trim: list[int] = []

    def open_model(_: VersionSpec) -> Model:
        model = load_model(backend="mock")
        models.append(weakref.ref(model.backend))
        return replace(model)

    def trim() -> None:
        alive_at_trim.append(sum(model() is not None for model in models))

    monkeypatch.setattr(loader, "return_freed_memory", trim)
    catalogs: Sequence[Catalog] = [one_model(version("a", 100)), one_model(version("b", 100))]
    current = [catalogs[0]]
    lifecycle = Lifecycle()
    follower = follower_of(open_model, lifecycle)
    task = asyncio.create_task(follower.follow(Source(lambda: current[0], lambda _: None, 0.001)))
    await until(lambda: len(alive_at_trim) == 1)
    current[0] = catalogs[1]
    await until(lambda: len(alive_at_trim) == 3)  # after the load of the second one, and after the first was unloaded
    assert alive_at_trim[0] == alive_at_trim[-1] == 1
    task.cancel()
    follower.close()
