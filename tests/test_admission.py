"""Who is let in, as a pure function of waits."""

import random

import pytest

from app.admission import Admission
from app.errors import DeadlineExceeded, Overloaded


def admission(max_wait_ms: float = 1000, max_queue_texts: int = 10) -> tuple[Admission, list[str]]:
    refused: list[str] = []
    return Admission(max_wait_ms, max_queue_texts, refused.append), refused


def test_a_text_that_need_not_wait_is_let_in() -> None:
    door, refused = admission()
    door.check(0, 1, 10)
    assert refused == []


def test_a_wait_over_the_limit_is_refused_with_the_time_to_come_again() -> None:
    door, refused = admission(max_wait_ms=100)
    with pytest.raises(Overloaded, match="too long") as caught:
        door.check(101, 1e9, 1)
    assert caught.value.retry_after_s == pytest.approx(0.101)
    assert refused == ["wait"]


def test_a_full_queue_is_refused() -> None:
    door, refused = admission()
    with pytest.raises(Overloaded, match="full"):
        door.check(5, 100, 11)
    assert refused == ["full"]


def test_without_any_time_left_it_is_the_deadline_that_is_named() -> None:
    door, refused = admission()
    with pytest.raises(DeadlineExceeded):
        door.check(0, 0, 1)
    assert refused == []


def test_the_longest_waits_but_for_one_in_a_hundred_are_reckoned_with() -> None:
    door, _ = admission()
    rng = random.Random(2)
    for _ in range(20_000):  # waits are anything up to one and a half times their prediction
        door.learn(100, rng.uniform(0, 150))
    assert door.spread == pytest.approx(1.5 * 0.99, abs=0.15)
    door.check(500, 1000, 1)
    with pytest.raises(Overloaded):
        door.check(800, 1000, 1)


def test_waits_that_are_always_as_predicted_need_no_reserve() -> None:
    door, _ = admission()
    for _ in range(2000):
        door.learn(100, 99)
    assert door.spread == 1
    door.check(999, 1000, 1)


def test_it_does_not_grow_without_end() -> None:
    door, _ = admission()
    for _ in range(500):
        door.learn(100, 1e6)
    assert door.spread == 4


def test_who_leaves_says_only_that_it_was_too_long() -> None:
    door, _ = admission()
    before = door.spread
    for _ in range(100):
        door.learn(100, 1, done=False)
    assert door.spread == before
    door.learn(100, 1000, done=False)
    assert door.spread > before


def test_short_waits_say_nothing() -> None:
    door, _ = admission()
    before = door.spread
    door.learn(5, 1000)
    assert door.spread == before
