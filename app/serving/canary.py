"""Whether a canary is worse than the version that most callers get. Pure."""

from dataclasses import dataclass

# With fewer requests, a rate of a few percent may be chance. If 1 % of all requests fail, then of 200 requests 5 % or
# more fail about once in 25,000 times.
_LEAST_FOR_ERRORS = 200
# The 99th percentile of 500 requests has five slower ones: one pause of the machine does not decide it.
_LEAST_FOR_LATENCY = 500


@dataclass(frozen=True, slots=True)
class Recent:
    """How the newest requests of a version ended. `errors` are those that failed for a reason of the server's."""

    requests: int
    errors: int
    p99_ms: float

    @property
    def error_rate(self) -> float:
        return self.errors / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class CanaryLimits:
    """When a canary is rolled back: beyond this part of failed requests, or so many times the other p99. 0 is never."""

    max_error_rate: float = 0.0
    max_p99_ratio: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.max_error_rate or self.max_p99_ratio)

    def judge(self, canary: Recent, main: Recent) -> str:
        """Return why a canary must not go on, with both figures; empty if it may, or has had too few requests.

        `main` is the version with the largest share. An error rate that is no higher than that of `main` has a cause
        that both share, so it does not count: the callers would gain nothing.
        """
        if (
            self.max_error_rate
            and canary.requests >= _LEAST_FOR_ERRORS
            and canary.error_rate > max(self.max_error_rate, main.error_rate)
        ):
            return (
                f"{canary.error_rate:.1%} of its newest {canary.requests} requests failed, and {main.error_rate:.1%} "
                f"of those of the version with most callers; at most {self.max_error_rate:.1%} may fail "
                "(SENTIMENT_CANARY_MAX_ERROR_RATE)"
            )
        if (
            self.max_p99_ratio
            and min(canary.requests, main.requests) >= _LEAST_FOR_LATENCY
            and canary.p99_ms > self.max_p99_ratio * main.p99_ms
        ):
            return (
                f"the p99 of its newest requests is {canary.p99_ms:.1f} ms, and {main.p99_ms:.1f} ms for the version "
                f"with most callers; it may be {self.max_p99_ratio:g} times as long (SENTIMENT_CANARY_MAX_P99_RATIO)"
            )
        return ""
