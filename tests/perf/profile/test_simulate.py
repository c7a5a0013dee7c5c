"""The simulation gives the results that can be calculated by hand."""

from typing import Any

import numpy as np
import pytest

from app.scheduling.cost import CostModel
from perf.profile.simulate import MAX_BATCH_SIZE, MAX_BATCH_TOKENS, POLICIES, TIMER_S, Result, simulate

COST = CostModel(base_ms=1.0, token_ms=0.1)


def run(policy: str, tokens: list[int], **options: Any) -> Result:
    return simulate(POLICIES[policy](COST, MAX_BATCH_SIZE, MAX_BATCH_TOKENS), tokens, COST, **options)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("slots", [1, 3])
def test_each_text_is_answered_once_and_not_too_early(name: str, slots: int) -> None:
    tokens = np.random.default_rng(1).integers(4, 200, 500).tolist()
    arrivals_s = np.sort(np.random.default_rng(2).uniform(0, 5, 500)).tolist()
    result = run(name, tokens, slots=slots, arrivals_s=arrivals_s)
    assert len(result.latency_ms) == 500
    assert result.latency_ms.min() >= COST.predict(min(tokens))


def test_one_at_a_time_follows_the_cost_model() -> None:
    result = run("one at a time", [40] * 1000, slots=2, clients=8)
    assert result.texts_per_s == pytest.approx(2 * 1000 / COST.predict(40), rel=0.01)
    assert np.median(result.latency_ms) == pytest.approx(8 / 2 * COST.predict(40), rel=0.01)


def test_a_single_text_waits_only_for_the_timer_policy() -> None:
    for name in POLICIES:
        waited_ms = TIMER_S * 1000 if name == "timer, padded" else 0
        result = run(name, [40], slots=2, arrivals_s=[0.0])
        assert result.latency_ms == pytest.approx([waited_ms + COST.predict(40)])


def test_full_batches_of_one_length_cost_one_run_each() -> None:
    for name in ("FIFO, padded", "service, padded", "service, mixed"):
        result = run(name, [20] * 50 * MAX_BATCH_SIZE, slots=1, clients=2 * MAX_BATCH_SIZE)
        assert result.texts_per_s == pytest.approx(MAX_BATCH_SIZE * 1000 / COST.predict(20 * MAX_BATCH_SIZE), rel=0.1)


def rates_of(tokens: list[int]) -> dict[str, float]:
    return {name: run(name, tokens, slots=2, clients=64).texts_per_s for name in POLICIES}


def test_grouping_similar_lengths_beats_padding_and_single_runs() -> None:
    rates = rates_of(np.random.default_rng(3).choice([8, 9, 10, 120], 4000).tolist())
    assert rates["service, mixed"] == max(rates.values())
    assert rates["service, padded"] > 1.1 * max(rates["one at a time"], rates["FIFO, padded"])


def test_mixed_lengths_beat_padding_when_all_lengths_differ() -> None:
    rates = rates_of(np.random.default_rng(3).integers(4, 60, 4000).tolist())
    assert rates["service, mixed"] > 1.05 * rates["service, padded"]
