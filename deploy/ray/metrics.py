"""Passes the metrics of a replica on to Ray, whose endpoint on each node has those of all replicas there."""

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry


class Exporter:
    """Copies each sample of a registry to a metric of Ray: gauges as they are, everything else by its increase.

    The buckets of a histogram become a counter with the label `le`, as Prometheus stores them in any case.
    """

    def __init__(self, registry: CollectorRegistry, *, counter: Callable[..., Any], gauge: Callable[..., Any]) -> None:
        self._registry = registry
        self._counter = counter
        self._gauge = gauge
        self._metrics: dict[str, Any] = {}
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def export(self) -> None:
        """Bring Ray's metrics up to date."""
        for family in self._registry.collect():
            is_gauge = family.type in ("gauge", "info", "unknown")
            for sample in family.samples:
                metric = self._metrics.get(sample.name)
                if metric is None:
                    kind = self._gauge if is_gauge else self._counter
                    metric = kind(sample.name, family.documentation, tag_keys=tuple(sample.labels))
                    self._metrics[sample.name] = metric
                if is_gauge:
                    metric.set(sample.value, tags=sample.labels)
                    continue
                key = sample.name, tuple(sample.labels.items())
                increase = sample.value - self._values.get(key, 0.0)
                self._values[key] = sample.value
                if increase > 0:
                    metric.inc(increase, tags=sample.labels)
