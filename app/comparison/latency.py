"""Latencies as percentiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in milliseconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, latencies_ms: Sequence[float]) -> Self | None:
        """Return the percentiles of some latencies; None without any."""
        return cls(*map(float, np.percentile(latencies_ms, (50, 95, 99)))) if len(latencies_ms) else None
