import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scheduling import CostModel


def test_it_fits_a_line_to_the_batches() -> None:
    cost = CostModel()
    for tokens in (8, 32, 128, 512) * 20:
        cost.observe(tokens, 0.7 + 0.03 * tokens)
    assert cost.base_ms == pytest.approx(0.7, rel=0.01)
    assert cost.token_ms == pytest.approx(0.03, rel=0.01)


def test_it_follows_a_machine_that_becomes_slower() -> None:
    cost = CostModel()
    for _ in range(500):
        cost.observe(10, 1.0)
        cost.observe(100, 5.0)
    for _ in range(1000):
        cost.observe(10, 3.0)
        cost.observe(100, 15.0)
    assert cost.predict(100) == pytest.approx(15, rel=0.05)


def test_batches_of_one_size_scale_both_costs() -> None:
    cost = CostModel(base_ms=2, token_ms=0.1)
    for _ in range(50):
        cost.observe(20, 8.0)
    assert cost.predict(20) == pytest.approx(8)
    assert cost.base_ms / cost.token_ms == pytest.approx(20)


def test_one_slow_batch_does_not_make_the_machine_look_slow() -> None:
    cost = CostModel()
    for tokens in (8, 32, 128) * 5:
        cost.observe(tokens, 0.7 + 0.02 * tokens)
    before = cost.predict(8)
    cost.observe(12, 1000.0)
    assert cost.predict(8) < 2 * before


@pytest.mark.parametrize("tokens", [[5, 5, 5], [1, 1000, 1]])
def test_batches_that_took_no_time_leave_both_costs_positive(tokens: list[int]) -> None:
    cost = CostModel()
    for each in tokens:
        cost.observe(each, 0.0)
    assert cost.base_ms >= 0
    assert cost.token_ms > 0
    cost.observe(100, 10.0)
    assert cost.predict(100) > 0.001


@given(st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 10_000)), min_size=1, max_size=60))
def test_both_costs_stay_positive_whatever_it_observes(observed: list[tuple[int, float]]) -> None:
    cost = CostModel()
    for tokens, ms in observed:
        cost.observe(tokens, ms)
    assert cost.base_ms >= 0
    assert cost.token_ms > 0
