"""The simulation of policies: what can be known beforehand comes out."""

import numpy as np
import pytest

from app.scheduling.cost import CostModel
from perf.profile.simulate import POLICIES, SIZE, TIMER_S, TOKENS, simulate

COST = CostModel(base_ms=1.0, token_ms=0.1)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("slots", [1, 3])
def test_every_text_is_answered_once_and_never_before_it_can_be(name: str, slots: int) -> None:
    tokens = np.random.default_rng(1).integers(4, 200, 500).tolist()
    arrivals_s = np.sort(np.random.default_rng(2).uniform(0, 5, 500)).tolist()
    found = simulate(POLICIES[name](COST, SIZE, TOKENS), tokens, COST, slots=slots, arrivals_s=arrivals_s)
    assert len(found.latency_ms) == 500
    assert found.latency_ms.min() >= COST.predict(min(tokens))


def test_one_at_a_time_does_what_the_cost_model_says() -> None:
    found = simulate(POLICIES["one at a time"](COST, SIZE, TOKENS), [40] * 1000, COST, slots=2, callers=8)
    assert found.texts_per_s == pytest.approx(2 * 1000 / COST.predict(40), rel=0.01)
    assert np.median(found.latency_ms) == pytest.approx(8 / 2 * COST.predict(40), rel=0.01)


def test_a_lone_text_waits_for_nobody_but_the_timer() -> None:
    for name, make in POLICIES.items():
        waited_ms = TIMER_S * 1000 if name == "timer, padded" else 0
        found = simulate(make(COST, SIZE, TOKENS), [40], COST, slots=2, arrivals_s=[0.0])
        assert found.latency_ms == pytest.approx([waited_ms + COST.predict(40)])


def test_full_batches_of_one_length_cost_one_run_each() -> None:
    for name in ("FIFO, padded", "ours, padded", "ours"):
        found = simulate(POLICIES[name](COST, SIZE, TOKENS), [20] * 50 * SIZE, COST, slots=1, callers=2 * SIZE)
        assert found.texts_per_s == pytest.approx(SIZE * 1000 / COST.predict(20 * SIZE), rel=0.1)


def rates_of(tokens: list[int]) -> dict[str, float]:
    return {
        name: simulate(make(COST, SIZE, TOKENS), tokens, COST, slots=2, callers=64).texts_per_s
        for name, make in POLICIES.items()
    }


def test_like_lengths_together_beat_padding_and_single_runs() -> None:
    rates = rates_of(np.random.default_rng(3).choice([8, 9, 10, 120], 4000).tolist())
    assert rates["ours"] == max(rates.values())
    assert rates["ours, padded"] > 1.1 * max(rates["one at a time"], rates["FIFO, padded"])


def test_where_all_lengths_are_unlike_common_rows_beat_padding() -> None:
    rates = rates_of(np.random.default_rng(3).integers(4, 60, 4000).tolist())
    assert rates["ours"] > 1.05 * rates["ours, padded"]
