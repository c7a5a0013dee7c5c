"""Read the metrics of a running service."""

from collections import defaultdict
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from perf.load.server import direct


def scrape(address: str) -> Mapping[str, float]:
    """Return each metric of `/metrics`, summed over its labels."""
    with direct.open(f"{address}/metrics", timeout=30) as response:
        text = response.read().decode()
    totals: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            totals[sample.name] += sample.value
    return totals
