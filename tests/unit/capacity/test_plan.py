"""Plans: enough, not more than enough, and clear about what cannot be reached."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.capacity import REFERENCE, Costs, Forecast, Goal, Layout, Lengths, Limits, Load, forecast, plan

COSTS = Costs(base_ms=1.0, token_ms=0.06, request_ms=0.5, hit_ms=0.25, memory_mb=200)
SENTENCES = Lengths.around(25, most=512)

few = settings(deadline=None, max_examples=8)


@pytest.fixture(scope="module", autouse=True)
def short_simulations() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.capacity.forecasts.REQUESTS", 2500)
        patch.setattr("app.capacity.forecasts._SKIPPED", 500)
        yield


def load(rps: float, hit_rate: float = 0.0) -> Load:
    return Load(rps, SENTENCES, hit_rate)


@few
@given(rps=st.floats(5, 2000), more=st.floats(1.2, 4), hit_rate=st.sampled_from([0.0, 0.5, 0.9]))
def test_more_load_never_needs_fewer_cores(rps: float, more: float, hit_rate: float) -> None:
    less, greater = (plan(load(rate, hit_rate), COSTS, Goal(40), cores=2) for rate in (rps, rps * more))
    assert greater.missing is None
    assert greater.expected.layout.replicas >= less.expected.layout.replicas


@few
@given(rps=st.floats(5, 1500), replicas=st.integers(1, 6), cores=st.integers(1, 4), more=st.integers(1, 4))
def test_more_replicas_never_make_p99_worse(rps: float, replicas: int, cores: int, more: int) -> None:
    before = forecast(load(rps), COSTS, Layout(replicas, cores))
    after = forecast(load(rps), COSTS, Layout(replicas + more, cores))
    assert after.refused <= before.refused
    # Where many are refused, those that are answered say little about the wait.
    assert after.p99_ms <= before.p99_ms * 1.1 or before.refused


@few
@given(rps=st.floats(5, 600), cores=st.integers(1, 4))
def test_more_cores_never_make_p99_worse(rps: float, cores: int) -> None:
    before, after = (forecast(load(rps), COSTS, Layout(1, size)) for size in (cores, cores + 1))
    assert after.p99_ms <= before.p99_ms * 1.1 or before.refused


def test_measured_delays_are_in_p99_and_not_in_p50() -> None:
    delayed = replace(COSTS, delays_ms=(0.0,) * 97 + (30.0,) * 3)
    usual, late = (forecast(load(100), costs, Layout(2, 1)) for costs in (COSTS, delayed))
    assert late.p99_ms > usual.p99_ms + 20
    assert late.p50_ms == pytest.approx(usual.p50_ms, rel=0.2)
    assert late.model_share == pytest.approx(usual.model_share, rel=0.05)  # the model does not work longer
    alone = plan(load(100), delayed, Goal(20))
    assert (alone.missing, alone.alone_p99_ms > 30) == ("text", True)
    assert plan(load(100), COSTS, Goal(20)).missing is None


@few
@given(rps=st.floats(50, 1500), low=st.floats(0, 0.8))
def test_more_hits_never_need_more_cores(rps: float, low: float) -> None:
    before, after = (plan(load(rps, hits), COSTS, Goal(40), cores=1) for hits in (low, low + 0.2))
    assert after.expected.layout.replicas <= before.expected.layout.replicas


def test_a_cache_that_has_every_answer_needs_no_model() -> None:
    endless = Costs(base_ms=1e6, token_ms=1e6, request_ms=0.5, hit_ms=0.25, memory_mb=200)
    result = plan(load(2000, hit_rate=1.0), endless, Goal(10))
    assert (result.missing, result.expected.layout) == (None, Layout(1, 1))
    assert result.expected.model_share == 0
    assert (result.expected.processor.largest, result.expected.slow.largest) == ("http", "http")


def test_a_plan_meets_its_goal_and_one_replica_less_does_not() -> None:
    goal = Goal(30)
    result = plan(load(1500), COSTS, goal, cores=1)
    assert result.missing is None
    assert goal.is_met(result.expected)
    fewer = forecast(load(1500), COSTS, Layout(result.expected.layout.replicas - 1, 1))
    assert not goal.is_met(fewer)


def test_the_size_of_a_replica_is_the_one_that_needs_the_fewest_cores() -> None:
    result = plan(load(900), COSTS, Goal(15))
    each = [plan(load(900), COSTS, Goal(15), cores=size).expected.layout for size in (1, 2, 4)]
    assert result.expected.layout.total_cores == min(layout.total_cores for layout in each)


def test_a_single_event_loop_limits_a_replica_with_many_cores() -> None:
    many = plan(load(9000, hit_rate=1.0), COSTS, Goal(20), cores=16)
    assert many.expected.layout.replicas >= 3  # 9000 hits of 0.25 ms each keep more than two event loops busy
    assert many.expected.loop_share <= 1


def test_a_goal_below_the_time_of_one_text_is_refused() -> None:
    result = plan(load(10), COSTS, Goal(2))
    assert result.missing == "text"
    assert result.alone_p99_ms > 2
    assert plan(load(10), COSTS, Goal(result.alone_p99_ms * 1.5)).missing is None


def test_limits_on_cores_and_memory_say_what_would_be_needed() -> None:
    needed = plan(load(3000), COSTS, Goal(40)).expected
    cores = plan(load(3000), COSTS, Goal(40, max_cores=2))
    assert (cores.missing, cores.needed) == ("cores", needed)
    assert cores.expected.layout.total_cores <= 2
    assert cores.expected.refused > 0.1
    memory = plan(load(3000), COSTS, Goal(40, max_memory_mb=250))
    assert (memory.missing, memory.needed) == ("memory", needed)
    enough = Goal(40, needed.layout.total_cores, needed.memory_mb)
    assert plan(load(3000), COSTS, enough).missing is None


def test_given_replicas_are_judged_as_they_are() -> None:
    enough = plan(load(100), COSTS, Goal(40), replicas=3, cores=1)
    assert (enough.missing, enough.expected.layout) == (None, Layout(3, 1))
    few_replicas = plan(load(2000), COSTS, Goal(40), replicas=1, cores=1)
    assert (few_replicas.missing, few_replicas.expected.layout) == ("latency", Layout(1, 1))
    assert plan(load(2000), COSTS, Goal(1), replicas=1).missing == "text"


def test_a_goal_that_no_number_of_replicas_reaches_ends() -> None:
    """Between the time of a text alone and the least that chance meetings of requests allow."""
    lengths = Lengths([10] * 98 + [400] * 2)
    alone_ms = float(np.percentile(lengths.alone_ms(COSTS), 99))
    result = plan(Load(50, lengths), COSTS, Goal(alone_ms + 1e-6), cores=1)
    assert result.missing in (None, "latency")
    assert result.expected.layout.replicas > 1


def test_a_longer_wait_means_fewer_refusals() -> None:
    short, long = (forecast(load(1200), COSTS, Layout(1, 1), Limits(max_wait_ms=wait_ms)) for wait_ms in (20.0, 200.0))
    assert short.refused >= long.refused > 0
    assert short.p99_ms < long.p99_ms


def test_refusals_are_the_load_beyond_what_a_core_can_do() -> None:
    lengths = Lengths([25])
    # Full batches: 16 texts with one fixed cost, and each with its tokens and its event loop.
    most_per_s = 1000 / (COSTS.base_ms / 16 + COSTS.token_ms * 25 + COSTS.request_ms)
    expected = forecast(Load(2 * most_per_s, lengths), COSTS, Layout(1, 1), Limits(max_wait_ms=200), overloaded=True)
    # A refusal costs the event loop time, too, but less.
    assert 0.5 <= expected.refused < 0.7


def test_core_hours_are_those_that_are_paid() -> None:
    expected = forecast(load(500), COSTS, Layout(2, 2))
    assert expected.core_hours_per_million == pytest.approx(4 / 500 * 1e6 / 3600)


def test_processor_time_is_split_by_what_each_costs() -> None:
    expected: Forecast = forecast(load(100), COSTS, Layout(1, 2))
    model_ms = COSTS.base_ms + COSTS.token_ms * SENTENCES.mean
    assert expected.processor.http == pytest.approx(0.5 / (0.5 + model_ms), rel=0.1)


def test_lengths_follow_a_mean_or_the_shares_of_a_manifest() -> None:
    assert Lengths.around(40, most=512).mean == pytest.approx(40, rel=0.03)
    assert max(Lengths.around(400, most=512).draw(2000, np.random.default_rng(1))) <= 512
    drawn = Lengths.of_shares((8, 16, 32), (0.25, 0.0, 0.25, 0.5), most=64).draw(4000, np.random.default_rng(1))
    shares = np.histogram(drawn, [0, 8, 16, 32, 65])[0] / 4000
    assert shares == pytest.approx([0.25, 0.0, 0.25, 0.5], abs=0.03)
    assert max(drawn) <= 64


def test_the_reference_machine_is_a_plausible_one() -> None:
    assert plan(load(100), REFERENCE, Goal(50)).missing is None
