"""When a canary is worse than the version that most callers get."""

import pytest

from app.serving import CanaryLimits
from app.serving.canary import Recent

ERRORS = CanaryLimits(max_error_rate=0.05)
LATENCY = CanaryLimits(max_p99_ratio=2.0)
GOOD = Recent(1000, 0, 10.0)


def test_without_limits_nothing_is_judged() -> None:
    assert not CanaryLimits()
    assert CanaryLimits().judge(Recent(1000, 1000, 9999.0), GOOD) == ""


@pytest.mark.parametrize("limits", [ERRORS, LATENCY])
def test_either_limit_is_enough(limits: CanaryLimits) -> None:
    assert limits
    assert limits.judge(Recent(1000, 500, 500.0), GOOD)


def test_the_reason_states_both_error_rates_and_the_limit() -> None:
    assert ERRORS.judge(Recent(200, 11, 10.0), Recent(1000, 5, 10.0)) == (
        "5.5% of its newest 200 requests failed, and 0.5% of those of the version with most callers; "
        "at most 5.0% may fail (SENTIMENT_CANARY_MAX_ERROR_RATE)"
    )


def test_the_limit_itself_is_allowed() -> None:
    assert ERRORS.judge(Recent(200, 10, 10.0), GOOD) == ""
    assert LATENCY.judge(Recent(500, 0, 20.0), GOOD) == ""


def test_too_few_requests_are_not_judged() -> None:
    assert ERRORS.judge(Recent(199, 199, 10.0), GOOD) == ""
    assert LATENCY.judge(Recent(499, 0, 999.0), GOOD) == ""
    assert LATENCY.judge(Recent(500, 0, 999.0), Recent(499, 0, 10.0)) == ""
    assert LATENCY.judge(Recent(500, 0, 999.0), Recent(500, 0, 10.0))


def test_errors_of_both_versions_are_not_the_fault_of_the_canary() -> None:
    assert ERRORS.judge(Recent(200, 100, 10.0), Recent(200, 100, 10.0)) == ""
    assert ERRORS.judge(Recent(200, 101, 10.0), Recent(200, 100, 10.0))


def test_a_main_version_without_requests_has_no_errors() -> None:
    assert "0.0% of those" in ERRORS.judge(Recent(200, 20, 10.0), Recent(0, 0, 0.0))


def test_the_reason_states_both_latencies_and_the_limit() -> None:
    assert LATENCY.judge(Recent(500, 0, 20.04), GOOD) == (
        "the p99 of its newest requests is 20.0 ms, and 10.0 ms for the version with most callers; "
        "it may be 2 times as long (SENTIMENT_CANARY_MAX_P99_RATIO)"
    )
