"""The policy of retries, without a clock or a network."""

from collections.abc import Callable

import pytest
from rt_sentiment_client import DeadlineExceeded, InvalidText, Overloaded, ServerError, Unavailable, UntrustedServer
from rt_sentiment_client.retry import Deadline, Recovery, RetryPolicy, check_timeout_s


def highest(_low: float, high: float) -> float:
    return high


def lowest(low: float, _high: float) -> float:
    return low


def deadline(left_s: float = 1000) -> Deadline:
    return Deadline(left_s, now=lambda: 0.0)


def policy(uniform: Callable[[float, float], float] = highest, max_attempts: int | None = None) -> RetryPolicy:
    return RetryPolicy(attempt_timeout_s=10, max_attempts=max_attempts, uniform=uniform)


def test_waits_are_random_below_a_limit_that_doubles_up_to_five_seconds() -> None:
    error = Unavailable("no")
    waits = [policy().wait_s(error, attempt, deadline()) for attempt in (1, 2, 3, 4, 7, 1_000_000)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 5, 5])
    assert policy(lowest).wait_s(error, 5, deadline()) == 0


def test_a_retry_after_is_never_shortened_and_always_spread() -> None:
    error = Overloaded("no", retry_after_s=3)
    assert policy(lowest).wait_s(error, 1, deadline()) == 3
    assert policy(highest).wait_s(error, 1, deadline()) == pytest.approx(3.1)


def test_a_wait_that_would_end_after_the_deadline_is_not_begun() -> None:
    assert policy().wait_s(Overloaded("no", retry_after_s=3), 1, deadline(left_s=3.05)) is None
    assert policy().wait_s(Unavailable("no"), 1, deadline(left_s=0.1)) is None


@pytest.mark.parametrize("error", [InvalidText("no"), ServerError("no"), UntrustedServer("no")])
def test_an_error_that_stays_is_not_retried(error: Exception) -> None:
    assert policy().wait_s(error, 1, deadline()) is None  # type: ignore[arg-type]


def test_attempts_can_be_limited() -> None:
    assert policy(max_attempts=2).wait_s(Unavailable("no"), 1, deadline()) is not None
    assert policy(max_attempts=2).wait_s(Unavailable("no"), 2, deadline()) is None


def test_a_list_that_takes_too_long_is_split_instead_of_repeated() -> None:
    assert policy().wait_s(DeadlineExceeded("no"), 1, deadline(), can_be_split=True) is None
    assert policy().wait_s(DeadlineExceeded("no"), 1, deadline()) is not None
    assert policy().wait_s(Unavailable("no"), 1, deadline(), can_be_split=True) is not None


def test_an_attempt_ends_with_the_deadline_at_the_latest() -> None:
    assert policy().attempt_s(deadline(left_s=3), "id") == 3
    assert policy().attempt_s(deadline(left_s=30), "id") == 10
    assert RetryPolicy(attempt_timeout_s=None).attempt_s(deadline(left_s=30), "id") == 30
    with pytest.raises(DeadlineExceeded):
        policy().attempt_s(deadline(left_s=0), "id")


def test_a_deadline_is_a_point_in_time() -> None:
    clock = iter([100.0, 101.0, 106.0])
    moment = Deadline(5, now=lambda: next(clock))
    assert (moment.left_s(), moment.left_s()) == (4, -1)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 86_401])
def test_a_time_limit_is_positive_and_at_most_a_day(value: float) -> None:
    with pytest.raises(ValueError, match="timeout_s must be"):
        check_timeout_s("timeout_s", value)


def test_a_transfer_that_gets_further_than_before_has_all_attempts_again() -> None:
    recovery = Recovery(RetryPolicy(max_attempts=2), 100)
    for position in (5, 7):
        assert recovery.wait_s(error := Unavailable("no")) is not None
        recovery.reached(position)
        assert error.attempts == 1
    assert recovery.wait_s(Unavailable("no")) is not None
    recovery.reached(7)  # the same bytes once more
    assert recovery.wait_s(error := Unavailable("no")) is None
    assert error.attempts == 2


def test_a_transfer_ends_at_its_limit() -> None:
    now = iter([0.0, 4.0, 4.0, 20.0])
    recovery = Recovery(RetryPolicy(), 100, silence_s=15, limit=Deadline(10, lambda: next(now)))
    assert recovery.attempt_s("id-1") == 6
    with pytest.raises(DeadlineExceeded):
        recovery.attempt_s("id-1")
