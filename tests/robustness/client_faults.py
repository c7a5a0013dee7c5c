"""Faults of replicas while the Python client sends texts, through nginx and without it."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable

from tests.robustness.fault import Outcome, fault, outcome
from tests.support.client_load import Texts, load
from tests.support.replicas import Replicas, running

# Batches take a moment, and few texts may wait: so there are refusals.
BUSY = {"backend": "mock", "mock_delay_ms": "20", "max_wait_ms": "40"}


def wait_for_results(replicas: Replicas, loads: list[Texts], results: int = 5) -> None:
    """Wait until each load has so many more results."""
    before = [texts.outcomes.total() for texts in loads]
    replicas.wait_until(
        lambda: all(texts.outcomes.total() >= old + results for texts, old in zip(loads, before, strict=True))
    )


def each_is_killed(replicas: Replicas, loads: list[Texts]) -> None:
    """Kill the replicas one after the other: nginx answers 500 to a request that two replicas died with."""
    wait_for_results(replicas, loads)
    for victim in {*replicas.processes()}:
        os.kill(victim, signal.SIGKILL)
        replicas.wait_until(lambda gone=victim: gone not in replicas.processes() and replicas.all_ready())
        wait_for_results(replicas, loads)


def all_restart(replicas: Replicas, loads: list[Texts]) -> None:
    wait_for_results(replicas, loads)
    before = len(replicas.lines(event="all workers restarted"))
    replicas.process.send_signal(signal.SIGHUP)
    replicas.wait_until(lambda: len(replicas.lines(event="all workers restarted")) > before)
    wait_for_results(replicas, loads)


def all_right(loads: list[Texts]) -> bool:
    """Whether every text has its own prediction, in its place."""
    print([texts.outcomes for texts in loads])
    return all(texts.all_answered() and texts.outcomes.keys() == {"right"} for texts in loads)


def _under_load(title: str, cause: Callable[[Replicas, list[Texts]], None]) -> Outcome:
    with running(frozen_s=60, **BUSY) as replicas:
        addresses = [replicas.address, replicas.replicas()[0]]
        loads = asyncio.run(load(addresses, lambda loads: cause(replicas, loads)))
    responses = sum((texts.outcomes for texts in loads), Counter[str]())
    responses["missing"] = sum(not texts.all_answered() for texts in loads)
    return outcome(title, +responses)


@fault
def clients_of_killed_replicas() -> Outcome:
    return _under_load("Python clients, and each replica is killed in turn (SIGKILL)", each_is_killed)


@fault
def clients_of_replicas_that_restart() -> Outcome:
    return _under_load("Python clients, and all replicas restart (SIGHUP)", all_restart)
