"""What the users of the gate sent and received, and whether that passes."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Record:
    """The requests of some users: how many were sent, and the latency of each right response.

    A request that is never answered, or answered wrongly, was sent and has no latency.
    """

    sent: Counter[str] = field(default_factory=Counter)  # by name of the route
    latencies_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    expected: float = 0.0  # requests, from the time that the users had

    def add(self, other: "Record") -> None:
        self.sent.update(other.sent)
        for name, latencies_ms in other.latencies_ms.items():
            self.latencies_ms[name] += latencies_ms
        self.expected += other.expected

    def as_message(self) -> dict[str, Any]:
        """Return the arguments of an equal record, as types that locust sends between its processes."""
        return {"sent": dict(self.sent), "latencies_ms": dict(self.latencies_ms), "expected": self.expected}

    def p95_ms(self, name: str) -> float:
        """Return the latency that 95 % of the requests do not exceed. A failed request counts as infinitely slow."""
        latencies_ms = sorted(self.latencies_ms.get(name, ()))
        rank = math.ceil(0.95 * self.sent[name])
        return latencies_ms[rank - 1] if 0 < rank <= len(latencies_ms) else math.inf

    @property
    def failed_share(self) -> float:
        total = self.sent.total()
        return 1 - sum(map(len, self.latencies_ms.values())) / total if total else 1.0


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the verdict."""

    passed: bool
    line: str

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}  {self.line}"


def checks(record: Record, routes: Sequence[str], *, p95_ms: float, max_error_share: float) -> list[Check]:
    """Judge a record: the latency of each route, the share of failed requests, and the number of requests sent."""
    judged = [_check_latency(record, route, p95_ms) for route in routes]
    failed = record.failed_share
    judged.append(Check(failed <= max_error_share, f"failed: {failed:.2%}, limit {max_error_share:.2%}"))
    sent = record.sent.total()
    minimum = math.floor(0.95 * record.expected - 4 * math.sqrt(record.expected))  # chance alone does not go below this
    judged.append(Check(sent >= max(1, minimum), f"sent: {sent} requests, about {record.expected:.0f} expected"))
    return judged


def _check_latency(record: Record, route: str, limit_ms: float) -> Check:
    if not record.sent[route]:
        return Check(False, f"{route}: no request was sent")
    p95_ms = record.p95_ms(route)
    if p95_ms == math.inf:
        return Check(False, f"{route}: no p95, because more than 5 % of {record.sent[route]} requests failed")
    return Check(p95_ms < limit_ms, f"{route}: p95 {p95_ms:.2f} ms, limit: below {limit_ms:g} ms")
