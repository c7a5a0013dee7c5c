"""When the circuit breaker stops running a failing model, and when it tries again."""

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from app.errors import BackendError
from app.serving import breaker as module
from app.serving.breaker import Breaker
from app.types import Encoding, Payload, Unfinished
from tests.support.waiting import HANG_S

BAD = BackendError("bad")


class Model:
    """Returns texts in capitals; fails on texts that begin with `bad`, and on everything while `is_broken`."""

    def __init__(self) -> None:
        self.is_broken = False
        self.batches: list[list[str]] = []

    def __call__(self, texts: Sequence[str], *, alone: bool = False) -> list[str | BackendError]:
        self.batches.append(list(texts))
        return [BAD if self.is_broken or text.startswith("bad") else text.upper() for text in texts]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def opened() -> list[bool]:
    return []


@pytest.fixture
def breaker(model: Model, opened: list[bool], monkeypatch: pytest.MonkeyPatch) -> Breaker[str, str]:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    return Breaker(model, "canary", on_open=lambda _: opened.append(True))


def failed(results: Sequence[str | BackendError]) -> bool:
    return all(isinstance(result, BackendError) for result in results)


def test_a_working_model_gets_no_extra_batches(breaker: Breaker[str, str], model: Model) -> None:
    assert [breaker.run(["a", "b"]) for _ in range(10)] == [["A", "B"]] * 10
    assert model.batches == [["a", "b"]] * 10


def test_bad_texts_do_not_open_it(breaker: Breaker[str, str], model: Model, opened: list[bool]) -> None:
    for _ in range(20):
        assert failed(breaker.run(["bad", "bad"]))
    assert model.batches.count(["canary"]) == 4
    assert not opened
    assert breaker.run(["a"]) == ["A"]


def test_the_canary_runs_only_after_several_failed_batches_in_a_row(breaker: Breaker[str, str], model: Model) -> None:
    for _ in range(10):
        for texts in (["bad"], ["bad"], ["bad", "good"], ["bad"]):
            breaker.run(texts)
    assert ["canary"] not in model.batches


def test_it_opens_if_the_canary_fails_as_well(breaker: Breaker[str, str], model: Model, opened: list[bool]) -> None:
    model.is_broken = True
    for _ in range(5):
        assert failed(breaker.run(["a"]))
    assert breaker.is_open
    assert opened == [True]
    batches = len(model.batches)
    assert failed(breaker.run(["a", "b"]))
    assert len(model.batches) == batches


async def test_it_closes_once_the_canary_succeeds(breaker: Breaker[str, str], model: Model) -> None:
    model.is_broken = True
    for _ in range(5):
        breaker.run(["a"])
    model.is_broken = False
    assert await breaker.recover(timeout_s=HANG_S)
    assert breaker.run(["a"]) == ["A"]


async def test_it_gives_up_if_the_canary_fails_every_time(breaker: Breaker[str, str], model: Model) -> None:
    model.is_broken = True
    for _ in range(5):
        breaker.run(["a"])
    before = len(model.batches)
    assert not await breaker.recover(timeout_s=HANG_S)
    assert model.batches[before:] == [["canary"]] * 5
    assert breaker.is_open


async def test_it_gives_up_if_the_canary_hangs(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    release = threading.Event()

    def hanging(texts: Sequence[str], *, alone: bool = False) -> list[str | BackendError]:
        release.wait(HANG_S)
        return model(texts)

    breaker: Breaker[str, str] = Breaker(hanging, "canary", on_open=lambda _: None)
    assert not await breaker.recover(timeout_s=0.05)
    release.set()


class InParts:
    """A model in two parts, of which the second may be broken."""

    def __init__(self) -> None:
        self.is_broken = False
        self.runs: list[int] = []

    def __call__(self, payloads: Sequence[Payload], *, alone: bool = False) -> list[str | Unfinished | BackendError]:
        results: list[str | Unfinished | BackendError] = []
        for payload in payloads:
            part = payload.parts if isinstance(payload, Unfinished) else 0
            self.runs.append(part)
            if isinstance(payload, Encoding) and payload.depth == "full":
                results.append(Unfinished(payload, 1, np.zeros((1, 1), dtype=np.float32)))
            else:
                results.append(BAD if part and self.is_broken else "done")
        return results


async def test_it_opens_if_only_a_later_part_of_the_model_fails(
    opened: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    model, sure = InParts(), Encoding([1], truncated=False)
    canary: Payload = Encoding([1], truncated=False, depth="full")
    breaker: Breaker[Payload, str] = Breaker(model, canary, on_open=lambda _: opened.append(True))
    unsure = Unfinished(sure, 1, np.zeros((1, 1), dtype=np.float32))
    model.is_broken = True
    for _ in range(5):  # most texts need only the first part, which works
        assert breaker.run([sure]) == ["done"]
        assert not opened
        breaker.run([unsure])
    assert opened == [True]
    assert model.runs[-2:] == [0, 1], "the canary goes through all parts"
    model.is_broken = False
    assert await breaker.recover(timeout_s=HANG_S)
    assert breaker.run([unsure]) == ["done"]
