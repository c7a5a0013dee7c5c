"""The right to run a job, while Redis is away."""

from unittest.mock import Mock

import pytest

from app.errors import NotReady
from app.jobs import lease as module
from app.jobs.lease import HandedBack, Lease, LeaseLost
from app.jobs.records import Records


def test_a_worker_that_must_end_does_not_wait_for_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GIVE_UP_S", 0.1)
    records = Mock(Records)
    records.change.side_effect = NotReady("Redis cannot be reached")
    with Lease(records, Mock(), "token") as lease:
        lease.stop(HandedBack)
        with pytest.raises(LeaseLost):
            lease.end(lambda job, _now_s: job)
