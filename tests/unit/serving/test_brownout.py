"""Brownout: above a predicted wait, new texts go through as many parts of the model as the wait allows."""

import pytest

from app.scheduling import Lane
from app.serving.brownout import Brownout
from tests.support.scheduling import upper


def lanes(*weights: float) -> Lane:
    """Return the first of several lanes; all of what runs in one goes on to the next."""
    lane = None
    for weight in reversed(weights):
        lane = Lane(upper, skips_padding=True, weight=weight, next=lane, unfinished=str)
        lane.going_on = 1.0
    assert lane
    return lane


@pytest.mark.parametrize(
    ("wait_ms", "parts"), [(0, 0), (100, 0), (101, 2), (149, 2), (151, 1), (299, 1), (301, 1), (1e9, 1)]
)
def test_texts_go_as_deep_as_the_wait_allows(wait_ms: float, parts: int) -> None:
    assert Brownout(lanes(1, 1, 1), 100).most_parts(wait_ms) == parts


def test_parts_that_few_texts_reach_save_little() -> None:
    lane = lanes(1, 1, 1)
    lane.going_on = 0.1  # through three parts costs 1.2 times the first one, through two 1.1 times
    assert Brownout(lane, 100).most_parts(108) == 2
    assert Brownout(lane, 100).most_parts(112) == 1
