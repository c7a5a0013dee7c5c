"""The simulation gives what can be calculated by hand, and loses nothing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.capacity import Result, ServicePolicy, Simulation, Text, Work
from app.capacity.policy import LANE
from app.scheduling import CostModel

COST = CostModel(base_ms=1.0, token_ms=0.1)


def run(
    tokens: list[int],
    arrivals_ms: list[float],
    *,
    replicas: int = 1,
    slots: int = 1,
    work: Work | None = None,
    max_wait_ms: float = math.inf,
) -> Result:
    policies = [ServicePolicy(COST, 16, 512) for _ in range(replicas)]
    simulation = Simulation(policies, COST, slots=slots, work=work, max_wait_ms=max_wait_ms)
    return simulation.run(tokens, arrivals_s=[each / 1000 for each in arrivals_ms])


def test_a_text_alone_takes_the_loop_the_model_and_the_way() -> None:
    result = run([40], [0.0], work=Work(request_ms=0.5, extra_ms=0.25))
    assert result.latency_ms == pytest.approx([0.5 + 5.0 + 0.25])
    assert (result.queue_ms, result.run_ms) == (pytest.approx([0.0]), pytest.approx([5.0]))
    assert result.loop_ms == pytest.approx([0.75])


def test_batches_take_longer_by_delays_that_are_drawn() -> None:
    arrivals_s = [float(second) for second in range(200)]
    simulations = [Simulation([ServicePolicy(COST, 16, 512)], COST, slots=1, delays_ms=(0.0, 0.0, 3.0)) for _ in "ab"]
    first, second = (simulation.run([40] * 200, arrivals_s=arrivals_s) for simulation in simulations)
    assert sorted(set(first.latency_ms.round(6))) == [5.0, 8.0]
    assert 40 < (first.run_ms > 6).sum() < 90
    assert list(first.latency_ms) == list(second.latency_ms)


def test_a_text_is_delayed_once_however_many_parts_it_goes_through() -> None:
    policy = ServicePolicy(COST, 16, 512, parts=(0.5, 0.5))
    simulation = Simulation([policy], COST, slots=1, delays_ms=(3.0,))
    result = simulation.run([40] * 3, parts=[1, 2, 2], arrivals_s=[0.0, 0.0005, 0.001])
    # The first text runs alone, the others share a batch for each part; the second part of both has no delay.
    undelayed = Simulation([ServicePolicy(COST, 16, 512, parts=(0.5, 0.5))], COST, slots=1)
    expected = undelayed.run([40] * 3, parts=[1, 2, 2], arrivals_s=[0.0, 0.0005, 0.001])
    assert list(result.latency_ms - expected.latency_ms) == pytest.approx([3.0, 6.0, 6.0])
    assert result.model_share * result.seconds == pytest.approx(expected.model_share * expected.seconds)


def test_a_run_is_never_shorter_than_no_time() -> None:
    simulation = Simulation([ServicePolicy(COST, 16, 512)], COST, slots=1, delays_ms=(-100.0,))
    assert simulation.run([40], arrivals_s=[0.0]).latency_ms == pytest.approx([0.0], abs=1e-3)


def test_a_cache_hit_takes_only_the_event_loop() -> None:
    result = run([0, 0], [0.0, 0.1], work=Work(request_ms=5.0, hit_ms=0.3))
    assert result.latency_ms == pytest.approx([0.3, 0.5])
    assert result.model_share == 0


def test_texts_that_wait_share_a_batch() -> None:
    result = run([40, 10, 10], [0.0, 1.0, 2.0])
    assert result.latency_ms == pytest.approx([5.0, 4.0 + 3.0, 3.0 + 3.0])


def test_a_request_goes_to_the_replica_with_the_fewest() -> None:
    result = run([40, 40, 40], [0.0, 1.0, 5.5], replicas=2)
    assert result.latency_ms == pytest.approx([5.0, 5.0, 5.0])


@pytest.mark.parametrize(("slots", "end_ms"), [(1, 7.0), (2, 5.0)])
def test_the_event_loop_delays_a_batch_if_no_core_is_left(slots: int, end_ms: float) -> None:
    result = run([40, 0], [0.0, 1.0], slots=slots, work=Work(hit_ms=2.0))
    assert result.latency_ms == pytest.approx([end_ms, 2.0])


def test_batches_share_what_the_event_loop_leaves_of_the_cores() -> None:
    result = run([40, 40, 0], [0.0, 0.0, 1.0], slots=2, work=Work(hit_ms=2.0))
    assert result.latency_ms == pytest.approx([6.0, 6.0, 2.0])


def test_other_programs_delay_batches_too() -> None:
    result = run([40, 40], [0.0, 1.0], work=Work(beside_ms=1.0))
    assert result.latency_ms == pytest.approx([6.0, 5.0 + 5.0])


def test_one_core_never_does_more_than_one_core_can() -> None:
    rng = np.random.default_rng(1)
    arrivals_ms = np.cumsum(rng.exponential(1.0, 3000)).tolist()
    result = run(rng.integers(5, 60, 3000).tolist(), arrivals_ms, work=Work(request_ms=0.6))
    assert 0.95 < result.model_share + result.loop_share <= 1.0 + 1e-9


def test_the_wait_for_the_event_loop_is_that_of_theory() -> None:
    """A queue with random arrivals and a constant time d at half load: d / 2 on average (Pollaczek and Khinchine)."""
    arrivals_ms = np.cumsum(np.random.default_rng(2).exponential(2.0, 40_000)).tolist()
    result = run([0] * 40_000, arrivals_ms, work=Work(hit_ms=1.0))
    assert result.latency_ms.mean() == pytest.approx(1.5, rel=0.04)
    assert result.loop_share == pytest.approx(0.5, rel=0.03)


def test_requests_that_would_wait_too_long_are_refused() -> None:
    result = run([40] * 100, [0.0] * 100, max_wait_ms=20.0)
    assert 0 < result.refused < 100
    assert result.refused + len(result.latency_ms) == 100
    assert result.queue_ms.max() <= 20.0 + COST.predict(40)
    assert run([40] * 100, [0.0] * 100).refused == 0


def test_what_came_first_can_be_left_out() -> None:
    simulation = Simulation([ServicePolicy(COST, 16, 512)], COST, slots=1)
    result = simulation.run([40, 10], arrivals_s=[0.0, 1.0], skip=1)
    assert result.latency_ms == pytest.approx([2.0])


@settings(deadline=None, max_examples=60)
@given(
    gaps_ms=st.lists(st.floats(0, 5), min_size=1, max_size=80),
    replicas=st.integers(1, 3),
    slots=st.integers(1, 3),
    max_wait_ms=st.sampled_from([2.0, 20.0, math.inf]),
    seed=st.integers(0, 99),
)
def test_every_request_has_one_outcome_and_none_is_early(
    gaps_ms: list[float], replicas: int, slots: int, max_wait_ms: float, seed: int
) -> None:
    tokens = np.random.default_rng(seed).integers(0, 60, len(gaps_ms)).tolist()
    work = Work(request_ms=0.4, hit_ms=0.2, beside_ms=0.1)
    result = run(
        tokens, np.cumsum(gaps_ms).tolist(), replicas=replicas, slots=slots, work=work, max_wait_ms=max_wait_ms
    )
    assert len(result.latency_ms) + result.refused == len(tokens)
    assert (result.latency_ms >= 0.2 - 1e-9).all()
    assert (result.queue_ms >= -1e-9).all()
    assert (result.loop_ms >= -1e-9).all()


class TestParts:
    """Texts of a model with exits: a first part of 0.6, and a second one of 0.4 for those that go on."""

    @staticmethod
    def run(tokens: list[int], parts: list[int], arrivals_ms: list[float], *, slots: int = 1) -> Result:
        policy = ServicePolicy(COST, 16, 512, parts=(0.6, 0.4))
        simulation = Simulation([policy], COST, slots=slots)
        return simulation.run(tokens, parts=parts, arrivals_s=[each / 1000 for each in arrivals_ms])

    @pytest.mark.parametrize(("parts", "run_ms"), [(1, 1.0 + 3.0), (2, 1.0 + 3.0 + 1.0 + 2.0)])
    def test_a_text_alone_goes_through_its_parts_at_once(self, parts: int, run_ms: float) -> None:
        result = self.run([50], [parts], [0.0])
        assert result.run_ms == pytest.approx([run_ms])
        assert result.latency_ms == pytest.approx([run_ms])

    def test_texts_that_are_not_sure_go_on_together_before_new_ones(self) -> None:
        # The first occupies the slot for 4 ms. Then three run, two of which go on, although a fifth is waiting.
        result = self.run([50, 10, 10, 10, 50], [1, 2, 2, 1, 1], [0.0, 1.0, 1.0, 1.0, 5.0])
        first_end, second_end = 4.0 + 1.0 + 1.8, 4.0 + 1.0 + 1.8 + 1.0 + 0.8
        assert result.latency_ms == pytest.approx(
            [4.0, first_end - 1, second_end - 1, second_end - 1, second_end + 4.0 - 5]
        )
        assert result.queue_ms == pytest.approx([0.0, 3.0, 3.0, 3.0, second_end - 5])

    def test_the_queue_learns_how_many_go_on(self) -> None:
        policy = ServicePolicy(COST, 16, 512, parts=(0.5, 0.5))
        for parts, waits_ms in ((1, 50 * 0.1 * 0.5), (2, 50 * 0.1)):
            Simulation([policy], COST, slots=1).run([50] * 4000, parts=[parts] * 4000, clients=1)
            policy.push(text := Text(50, 0.0, LANE))
            assert policy.backlog_ms() == pytest.approx(1.0 + waits_ms, rel=0.05)
            assert policy.take(0.0, 1, 1, 0.0) == [text]

    def test_each_text_needs_its_parts(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            self.run([50, 50], [1], [0.0, 1.0])
