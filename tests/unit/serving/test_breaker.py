"""When a model is left alone, and when it is asked again."""

from collections.abc import Sequence

import pytest

from app.errors import BackendError
from app.serving import breaker as module
from app.serving.breaker import Breaker

BAD = BackendError("bad")


class Model:
    """Answers with capitals; fails at texts that begin with `bad`, and at everything while `ill`."""

    def __init__(self) -> None:
        self.ill = False
        self.batches: list[list[str]] = []

    def __call__(self, texts: Sequence[str], *, alone: bool = False) -> list[str | BackendError]:
        self.batches.append(list(texts))
        return [BAD if self.ill or text.startswith("bad") else text.upper() for text in texts]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def opened() -> list[bool]:
    return []


@pytest.fixture
def breaker(model: Model, opened: list[bool], monkeypatch: pytest.MonkeyPatch) -> Breaker[str, str]:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    return Breaker(model, "canary", on_open=lambda: opened.append(True))


def failed(results: Sequence[str | BackendError]) -> bool:
    return all(isinstance(result, BackendError) for result in results)


def test_a_model_that_works_is_only_asked_what_it_is_asked(breaker: Breaker[str, str], model: Model) -> None:
    assert [breaker.run(["a", "b"]) for _ in range(10)] == [["A", "B"]] * 10
    assert model.batches == [["a", "b"]] * 10


def test_bad_texts_do_not_open_it(breaker: Breaker[str, str], model: Model, opened: list[bool]) -> None:
    for _ in range(20):
        assert failed(breaker.run(["bad", "bad"]))
    assert model.batches.count(["canary"]) == 4
    assert not opened
    assert breaker.run(["a"]) == ["A"]


def test_some_failures_do_not_even_ask_the_canary(breaker: Breaker[str, str], model: Model) -> None:
    for _ in range(10):
        for texts in (["bad"], ["bad"], ["bad", "good"], ["bad"]):
            breaker.run(texts)
    assert ["canary"] not in model.batches


def test_a_model_that_fails_at_everything_is_left_alone(
    breaker: Breaker[str, str], model: Model, opened: list[bool]
) -> None:
    model.ill = True
    for _ in range(5):
        assert failed(breaker.run(["a"]))
    assert breaker.is_open
    assert opened == [True]
    asked = len(model.batches)
    assert failed(breaker.run(["a", "b"]))
    assert len(model.batches) == asked


async def test_it_closes_when_the_canary_is_well_again(breaker: Breaker[str, str], model: Model) -> None:
    model.ill = True
    for _ in range(5):
        breaker.run(["a"])
    model.ill = False
    assert await breaker.recover(timeout_s=1)
    assert breaker.run(["a"]) == ["A"]


async def test_it_gives_up_on_a_model_that_stays_ill(breaker: Breaker[str, str], model: Model) -> None:
    model.ill = True
    for _ in range(5):
        breaker.run(["a"])
    before = len(model.batches)
    assert not await breaker.recover(timeout_s=1)
    assert model.batches[before:] == [["canary"]] * 5
    assert breaker.is_open


async def test_it_gives_up_on_a_model_that_hangs(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    import threading

    free = threading.Event()

    def hanging(texts: Sequence[str], *, alone: bool = False) -> list[str | BackendError]:
        free.wait(10)
        return model(texts)

    breaker: Breaker[str, str] = Breaker(hanging, "canary", on_open=lambda: None)
    assert not await breaker.recover(timeout_s=0.05)
    free.set()
