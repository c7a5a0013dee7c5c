"""Admission as a pure function of predicted waits and of time."""

import random

import pytest

from app.errors import DeadlineExceeded, Overloaded
from app.scheduling.admission import Admission, Room, Wait


class Bench:
    """Admission with default limits, and the reasons of its refusals."""

    def __init__(self, max_wait_ms: float = 1000, max_queue_texts: int = 10) -> None:
        self.reasons: list[str] = []
        self.admission = Admission(max_wait_ms, max_queue_texts, self.reasons.append)

    @property
    def spread(self) -> float:
        return self.admission.spread

    def check(
        self, wait: Wait, *, timeout_s: float = 1.0, texts: int = 1, own: int = 0, callers: int = 1, now_s: float = 0.0
    ) -> None:
        room = Room(texts, own or texts, callers)
        self.admission.check(wait, now_s=now_s, deadline_s=now_s + timeout_s, room=room)

    def learn(self, *waits: tuple[Wait, float], done: bool = True) -> None:
        self.admission.learn(waits, 0.0, done=done)


def queued(ms: float) -> Wait:
    return Wait(queued_ms=ms)


def test_a_text_that_need_not_wait_is_admitted() -> None:
    bench = Bench()
    bench.check(Wait(), timeout_s=0.001, texts=10)
    assert bench.reasons == []


@pytest.mark.parametrize("wait", [queued(101), Wait(running_ms=101), Wait(51, 51)])
def test_a_wait_over_the_limit_is_refused_with_the_time_to_retry(wait: Wait) -> None:
    bench = Bench(max_wait_ms=100)
    with pytest.raises(Overloaded, match="too long") as caught:
        bench.check(wait, timeout_s=1e6)
    assert caught.value.retry_after_s == pytest.approx(wait.ms / 1000)
    assert bench.reasons == ["wait"]


def test_a_full_queue_is_refused() -> None:
    bench = Bench()
    with pytest.raises(Overloaded, match="full"):
        bench.check(queued(5), texts=11)
    assert bench.reasons == ["full"]


def test_a_full_queue_has_room_for_a_caller_within_its_equal_part() -> None:
    bench = Bench()
    bench.check(queued(5), texts=14, own=5, callers=2)
    for own, callers in ((6, 2), (4, 3), (1, 11)):
        with pytest.raises(Overloaded, match="full"):
            bench.check(queued(5), texts=14, own=own, callers=callers)


def test_a_request_without_any_time_left_gets_deadline_exceeded() -> None:
    bench = Bench()
    with pytest.raises(DeadlineExceeded):
        bench.check(Wait(), timeout_s=0)
    assert bench.reasons == []


def test_the_spread_is_the_99th_percentile_of_actual_waits() -> None:
    bench = Bench()
    rng = random.Random(2)
    for _ in range(20_000):  # waits are anything up to three times their prediction
        bench.learn((queued(100), rng.uniform(0, 300)))
    assert bench.spread == pytest.approx(3, abs=0.15)
    bench.check(queued(300))
    with pytest.raises(Overloaded):
        bench.check(queued(400))


def test_the_spread_does_not_apply_to_running_batches() -> None:
    bench = Bench()
    bench.check(Wait(running_ms=990))
    bench.check(Wait(running_ms=600, queued_ms=190))
    with pytest.raises(Overloaded):
        bench.check(Wait(running_ms=600, queued_ms=210))
    bench.learn((Wait(running_ms=500, queued_ms=100), 699))
    assert bench.spread < 2
    bench.learn((Wait(running_ms=500, queued_ms=100), 701))
    assert bench.spread > 2


def test_correct_predictions_leave_a_third_of_the_time_in_reserve() -> None:
    bench = Bench()
    bench.learn(*[(queued(100), 99.0)] * 2000)
    assert bench.spread == 1.5
    bench.check(queued(660))
    with pytest.raises(Overloaded):
        bench.check(queued(680))


def test_the_batch_of_the_text_itself_counts_towards_its_time() -> None:
    bench = Bench()
    bench.check(Wait(running_ms=900, batch_ms=90))
    with pytest.raises(Overloaded):
        bench.check(Wait(running_ms=900, batch_ms=110))


def test_the_texts_of_a_batch_raise_the_spread_only_once() -> None:
    bench, other = Bench(), Bench()
    bench.learn(*[(queued(100), 1e6)] * 40)
    other.learn((queued(100), 1e6))
    assert bench.spread == other.spread == pytest.approx(2.1, abs=0.01)


def test_the_spread_is_bounded_and_returns_to_its_initial_value() -> None:
    bench = Bench()
    for _ in range(500):
        bench.learn((queued(100), 1e6))
    assert bench.spread == 4
    bench.check(Wait(), now_s=30.0)
    assert 2.5 < bench.spread < 3
    bench.check(Wait(), now_s=300.0)
    assert bench.spread == pytest.approx(2, abs=0.01)


def test_a_text_that_leaves_can_only_raise_the_spread() -> None:
    bench = Bench()
    for _ in range(100):
        bench.learn((queued(100), 1), done=False)
    assert bench.spread == 2
    bench.learn((queued(100), 1000), done=False)
    assert bench.spread > 2


def test_short_waits_do_not_change_the_spread() -> None:
    bench = Bench()
    bench.learn((queued(5), 1000))
    assert bench.spread == 2
