"""Each fault of `make chaos`, once: nothing is lost."""

import pytest

from tests.robustness.chaos import FAULTS

# `tests/deploy/test_replicas.py` has these.
KNOWN = {"a replica is killed", "a replica freezes", "all replicas restart"}


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - KNOWN))
def test_a_fault_loses_nothing(fault: str) -> None:
    outcome = FAULTS[fault]()
    print(outcome)
    assert outcome.lost == 0, outcome
    assert outcome.answers["right"] > 0
