"""Faults of replicas behind nginx."""

import asyncio
import os
import random
import signal
from collections.abc import Callable

import httpx

from tests.robustness.fault import Outcome, fault, outcome
from tests.support.replicas import Replicas, load, running
from tests.support.waiting import HANG_S

_REQUESTS = 50  # before and after a fault


def _under_load(title: str, cause: Callable[[Replicas], None], *allowed: str, **settings: str) -> Outcome:
    """Cause a fault while clients send requests."""
    with running(frozen_s=20, **settings) as replicas:

        def act() -> None:
            replicas.wait_for_requests(_REQUESTS)
            cause(replicas)
            replicas.wait_for_requests(_REQUESTS)

        return outcome(title, asyncio.run(load(replicas.address, act)), allowed)


def _send_signal_to_one(number: signal.Signals) -> Callable[[Replicas], None]:
    def cause(replicas: Replicas) -> None:
        victim = random.choice(replicas.processes())
        os.kill(victim, number)
        replicas.wait_until(lambda: victim not in replicas.processes() and replicas.all_ready())

    return cause


@fault
def a_replica_is_killed() -> Outcome:
    return _under_load("a replica is killed (SIGKILL)", _send_signal_to_one(signal.SIGKILL))


@fault
def a_replica_freezes() -> Outcome:
    return _under_load("a replica freezes (SIGSTOP)", _send_signal_to_one(signal.SIGSTOP))


@fault
def a_replica_is_terminated() -> Outcome:
    return _under_load("a replica is terminated (SIGTERM)", _send_signal_to_one(signal.SIGTERM))


@fault
def all_replicas_restart() -> Outcome:
    def restart(replicas: Replicas) -> None:
        replicas.process.send_signal(signal.SIGHUP)
        replicas.wait_until(lambda: replicas.lines(event="all workers restarted"))

    return _under_load("all replicas restart, one after another (SIGHUP)", restart)


@fault
def a_text_hangs_the_model() -> Outcome:
    def hang(replicas: Replicas) -> None:
        httpx.post(f"{replicas.address}/predict", json={"text": "[hang]"}, timeout=HANG_S)
        replicas.wait_until(lambda: replicas.lines(event="worker ended", status=1) and replicas.all_ready())

    # Requests in the same process get 500.
    return _under_load("a text hangs the model", hang, "wrong: 500", backend="mock", backend_timeout_ms="5000")


@fault
def a_text_kills_its_replica() -> Outcome:
    with running("--replicas", "3", frozen_s=20, backend="tests.support.lethal:LethalBackend") as replicas:

        def deaths() -> int:
            return len(replicas.lines(event="worker ended"))

        def kill() -> None:
            replicas.wait_for_requests(_REQUESTS)
            response = httpx.post(f"{replicas.address}/predict", json={"text": "kill"}, timeout=HANG_S)
            assert response.status_code == 500, response.text
            replicas.wait_for_requests(_REQUESTS)
            replicas.wait_until(lambda: len(replicas.processes()) == 3 and replicas.all_ready())
            assert deaths() <= 2, "nginx has sent the text to all replicas"
            replicas.wait_for_requests(_REQUESTS)

        # Requests that were in both replicas when they died get the same response.
        return outcome(
            "a text kills its replica", asyncio.run(load(replicas.address, kill, connections=4)), ("wrong: 500",)
        )
