"""The verdict of the gate is about unrounded latencies, all requests and all routes."""

import math

import pytest

from perf.load.record import Record, checks

ROUTES = ("/a", "/b")


def record_of(latencies_ms: list[float], failed: int = 0, expected: float = 10) -> Record:
    """A record in which both routes have these latencies, and so many failures."""
    record = Record(expected=expected)
    for route in ROUTES:
        record.sent[route] = len(latencies_ms) + failed
        record.latencies_ms[route] = list(latencies_ms)
    return record


def verdict(record: Record, p95_ms: float = 100, max_error_share: float = 0.001) -> list[bool]:
    """Whether the latency of each route, the share of failures and the number of requests pass."""
    return [check.passed for check in checks(record, ROUTES, p95_ms=p95_ms, max_error_share=max_error_share)]


def test_a_fast_service_passes_every_check() -> None:
    assert verdict(record_of([50.0] * 20)) == [True] * 4


@pytest.mark.parametrize(
    ("latency_ms", "limit_ms", "passes"),
    [
        (104.9, 104, False),  # locust rounds to 100
        (104.9, 105, True),
        (94.6, 100, True),
        (97.3, 97.2, False),
        (0.4, 0.3, False),
        (1049, 1010, False),
        (9501, 9500.5, False),
        (100.0, 100, False),
    ],
)
def test_latencies_are_not_rounded(latency_ms: float, limit_ms: float, passes: bool) -> None:
    assert verdict(record_of([latency_ms] * 20), limit_ms) == [passes, passes, True, True]


def test_p95_is_the_latency_that_95_percent_do_not_exceed() -> None:
    record = record_of([float(number) for number in range(100, 0, -1)])
    assert record.p95_ms("/a") == 95
    assert record_of([7.0]).p95_ms("/a") == 7


def test_failed_requests_count_as_infinitely_slow() -> None:
    assert record_of([2.0] * 95, failed=5).p95_ms("/a") == 2
    assert record_of([2.0] * 94, failed=6).p95_ms("/a") == math.inf
    assert verdict(record_of([], failed=30)) == [False, False, False, True]


def test_a_route_without_requests_fails() -> None:
    record = record_of([2.0] * 20)
    record.sent["/b"], record.latencies_ms = 0, {"/a": [2.0] * 20}
    judged = checks(record, ROUTES, p95_ms=100, max_error_share=1)
    assert [check.passed for check in judged] == [True, False, True, True]
    assert str(judged[1]) == "FAIL  /b: no request was sent"


def test_no_requests_at_all_fail_every_check() -> None:
    assert verdict(Record()) == [False] * 4
    assert verdict(Record(expected=100)) == [False] * 4


def test_the_share_of_failures_is_that_of_all_requests() -> None:
    record = record_of([2.0] * 500)
    record.sent["(bad request)"] = 1
    assert verdict(record, max_error_share=0.001) == [True] * 4
    record.sent["(bad request)"] = 2
    assert verdict(record, max_error_share=0.001) == [True, True, False, True]
    assert verdict(record, max_error_share=0.01) == [True] * 4


def test_users_that_send_too_few_requests_fail() -> None:
    assert verdict(record_of([2.0] * 50, expected=100)) == [True] * 4
    assert verdict(record_of([2.0] * 50, expected=200)) == [True, True, True, False]


def test_records_of_several_processes_are_added() -> None:
    total = record_of([2.0] * 19)
    total.add(Record(**record_of([500.0], failed=1, expected=5).as_message()))
    assert (total.sent["/a"], total.expected) == (21, 15)
    assert total.p95_ms("/a") == 500
    assert total.failed_share == pytest.approx(2 / 42)
