"""Who is let in, as a pure function of waits and of time."""

import random

import pytest

from app.errors import DeadlineExceeded, Overloaded
from app.scheduling.admission import Admission, Wait


class Door(Admission):
    def __init__(self, max_wait_ms: float = 1000, max_queue_texts: int = 10) -> None:
        self.reasons: list[str] = []
        super().__init__(max_wait_ms, max_queue_texts, self.reasons.append)

    def ask(self, wait: Wait, *, timeout_s: float = 1.0, texts: int = 1, now_s: float = 0.0) -> None:
        self.check(wait, now_s=now_s, deadline_s=now_s + timeout_s, texts=texts)


def queued(ms: float) -> Wait:
    return Wait(queued_ms=ms)


def test_a_text_that_need_not_wait_is_let_in() -> None:
    door = Door()
    door.ask(Wait(), timeout_s=0.001, texts=10)
    assert door.reasons == []


@pytest.mark.parametrize("wait", [queued(101), Wait(running_ms=101), Wait(51, 51)])
def test_a_wait_over_the_limit_is_refused_with_the_time_to_come_again(wait: Wait) -> None:
    door = Door(max_wait_ms=100)
    with pytest.raises(Overloaded, match="too long") as caught:
        door.ask(wait, timeout_s=1e6)
    assert caught.value.retry_after_s == pytest.approx(wait.ms / 1000)
    assert door.reasons == ["wait"]


def test_a_full_queue_is_refused() -> None:
    door = Door()
    with pytest.raises(Overloaded, match="full"):
        door.ask(queued(5), texts=11)
    assert door.reasons == ["full"]


def test_without_any_time_left_it_is_the_deadline_that_is_named() -> None:
    door = Door()
    with pytest.raises(DeadlineExceeded):
        door.ask(Wait(), timeout_s=0)
    assert door.reasons == []


def test_the_longest_waits_but_for_one_in_a_hundred_are_reckoned_with() -> None:
    door = Door()
    rng = random.Random(2)
    for _ in range(20_000):  # waits are anything up to three times their prediction
        door.learn([(queued(100), rng.uniform(0, 300))], 0.0)
    assert door.spread == pytest.approx(3, abs=0.15)
    door.ask(queued(300))
    with pytest.raises(Overloaded):
        door.ask(queued(400))


def test_what_runs_is_not_spread() -> None:
    door = Door()
    door.ask(Wait(running_ms=990))
    door.ask(Wait(running_ms=600, queued_ms=190))
    with pytest.raises(Overloaded):
        door.ask(Wait(running_ms=600, queued_ms=210))
    door.learn([(Wait(running_ms=500, queued_ms=100), 699)], 0.0)
    assert door.spread < 2
    door.learn([(Wait(running_ms=500, queued_ms=100), 701)], 0.0)
    assert door.spread > 2


def test_waits_that_are_always_as_predicted_leave_a_third_of_the_time_in_reserve() -> None:
    door = Door()
    door.learn([(queued(100), 99)] * 2000, 0.0)
    assert door.spread == 1.5
    door.ask(queued(660))
    with pytest.raises(Overloaded):
        door.ask(queued(680))


def test_the_batch_that_a_text_will_be_in_takes_its_time_too() -> None:
    door = Door()
    door.ask(Wait(running_ms=900, batch_ms=90))
    with pytest.raises(Overloaded):
        door.ask(Wait(running_ms=900, batch_ms=110))


def test_the_texts_of_a_batch_are_one_reason_to_be_careful() -> None:
    door, other = Door(), Door()
    door.learn([(queued(100), 1e6)] * 40, 0.0)
    other.learn([(queued(100), 1e6)], 0.0)
    assert door.spread == other.spread == pytest.approx(2.1, abs=0.01)


def test_it_does_not_grow_without_end_and_is_forgotten_with_time() -> None:
    door = Door()
    for _ in range(500):
        door.learn([(queued(100), 1e6)], 0.0)
    assert door.spread == 4
    door.ask(Wait(), now_s=30.0)
    assert 2.5 < door.spread < 3
    door.ask(Wait(), now_s=300.0)
    assert door.spread == pytest.approx(2, abs=0.01)


def test_who_leaves_says_only_that_it_was_too_long() -> None:
    door = Door()
    for _ in range(100):
        door.learn([(queued(100), 1)], 0.0, done=False)
    assert door.spread == 2
    door.learn([(queued(100), 1000)], 0.0, done=False)
    assert door.spread > 2


def test_short_waits_say_nothing() -> None:
    door = Door()
    door.learn([(queued(5), 1000)], 0.0)
    assert door.spread == 2
