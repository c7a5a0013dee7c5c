"""Servers are overloaded, killed and restarted while clients send texts: none is lost, doubled or out of order."""

from collections.abc import Iterator

import pytest

from tests.robustness.client_faults import BUSY, all_restart, all_right, each_is_killed, wait_for_results
from tests.support.client_load import Texts, load
from tests.support.replicas import Replicas, running


@pytest.fixture(scope="module")
def replicas() -> Iterator[Replicas]:
    with running(frozen_s=60, **BUSY) as started:
        yield started


async def test_overload_loses_no_text(replicas: Replicas) -> None:
    def refuse(loads: list[Texts]) -> None:
        replicas.wait_until(lambda: len(replicas.lines(event="request", status=429)) >= 5)
        wait_for_results(replicas, loads)

    assert all_right(await load([replicas.address], refuse))


async def test_killed_replicas_lose_no_text_with_and_without_nginx(replicas: Replicas) -> None:
    addresses = [replicas.address, replicas.replicas()[0]]
    assert all_right(await load(addresses, lambda loads: each_is_killed(replicas, loads)))


async def test_a_rolling_restart_loses_no_text_with_and_without_nginx(replicas: Replicas) -> None:
    addresses = [replicas.address, replicas.replicas()[0]]
    assert all_right(await load(addresses, lambda loads: all_restart(replicas, loads)))
