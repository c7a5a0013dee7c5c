"""Each fault of `make chaos` happens once, and no request is lost."""

import pytest

from tests.robustness import caller_faults, model_faults, process_faults, replica_faults  # noqa: F401 - importing them registers their faults
from tests.robustness.fault import FAULTS

# `tests/deploy/test_replicas.py` and `tests/system/test_client_faults.py` have tests of their own for these.
TESTED_ELSEWHERE = {
    "a replica is killed",
    "a replica freezes",
    "all replicas restart",
    "clients of killed replicas",
    "clients of replicas that restart",
}


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - TESTED_ELSEWHERE))
def test_a_fault_loses_no_request(fault: str) -> None:
    outcome = FAULTS[fault]()
    print(outcome)
    assert outcome.lost == 0, outcome
    assert outcome.responses["right"] > 0
