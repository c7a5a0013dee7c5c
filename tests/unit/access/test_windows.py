"""The sliding window counter in memory: exact per caller, bounded, and hard to reset."""

import sys
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from app.access.windows import SlidingWindows, Window

CALLS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 12), st.floats(0, 15)), max_size=60)


@given(CALLS)
def test_a_call_passes_if_the_estimated_count_stays_within_the_limit(calls: list[tuple[str, int, float]]) -> None:
    windows, counted, now_s = SlidingWindows(10, 10.0), defaultdict[tuple[str, int], int](int), 0.0
    for caller, texts, pause_s in calls:
        now_s += pause_s
        number = int(now_s // 10)
        still_counts = (number + 1) * 10 - now_s
        estimate = counted[caller, number - 1] * still_counts / 10 + counted[caller, number]
        passed, window = windows.take(caller, texts, now_s)
        assert passed == (int(estimate) + texts <= 10)
        counted[caller, number] += texts * passed
        assert (window.previous, window.current) == (counted[caller, number - 1], counted[caller, number])


def test_the_previous_window_counts_for_what_is_still_covered() -> None:
    assert Window(8, 6.0, 2, 16.0).used(10.0) == 6


def test_callers_are_forgotten_after_two_windows_without_a_call() -> None:
    windows = SlidingWindows(10, 10.0)
    for number in range(1000):
        windows.take(f"{number}", 1, 5.0)
    for _ in range(500):
        windows.take("a", 1, 31.0)
    assert len(windows) == 1


def test_the_number_of_callers_is_bounded() -> None:
    windows = SlidingWindows(10, 10.0, max_callers=100)
    for number in range(10_000):
        assert windows.take(f"{number}", 1, 5.0)[0]
    assert len(windows) == 100


def test_requests_from_many_addresses_do_not_reset_a_count() -> None:
    windows = SlidingWindows(10, 10.0, max_callers=100)
    windows.take("attacker", 10, 5.0)
    for number in range(10_000):
        windows.take(f"{number}", 1, 5.0)
    assert not windows.take("attacker", 1, 5.0)[0]


def test_a_caller_whose_window_is_over_is_forgotten_first() -> None:
    windows = SlidingWindows(10, 10.0, max_callers=3)
    windows.take("over", 10, 5.0)
    windows.take("counts", 1, 25.0)
    windows.take("counts too", 1, 25.0)
    windows.take("new", 1, 25.0)
    assert windows.take("counts", 10, 25.0)[0] is False
    assert len(windows) == 3


def steps_of_a_call(callers: int) -> int:
    """How many lines of Python a call runs while there are so many callers, all with counts that are over."""
    windows, lines = SlidingWindows(10, 10.0, max_callers=callers), 0
    for number in range(callers):
        windows.take(f"{number}", 1, 5.0)

    def count(*_: object) -> object:
        nonlocal lines
        lines += 1
        return count

    before = sys.gettrace()  # coverage, whose figures would lack all later tests of this process
    sys.settrace(count)
    try:
        windows.take("new", 1, 15.0)
    finally:
        sys.settrace(before)
    return lines


def test_a_call_does_as_much_work_for_many_callers_as_for_few() -> None:
    assert steps_of_a_call(10_000) == steps_of_a_call(10)
