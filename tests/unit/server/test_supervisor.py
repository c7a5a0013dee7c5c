"""How the supervisor replaces and restarts workers, with a fake in place of their processes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from app.server import supervisor
from app.server.supervisor import Supervisor
from app.server.worker import SIGNALS
from tests.support.waiting import async_until


class FakeWorker:
    """A worker whose process ends when the test says so."""

    def __init__(self, target: Any, number: int, _metrics_dir: str | None, on_change: Callable[[], None]) -> None:
        self.number = self.pid = number
        self.starts = 0
        self.running = self.draining = self.ready = self.was_ready = False
        self.start: Callable[[], None] = target  # may raise
        self._on_change = on_change

    async def run(self) -> int:
        self.draining = False
        self.start()
        self.starts += 1
        self.running = True
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        return await self._exit

    def become_ready(self) -> None:
        self.ready = self.was_ready = True
        self._on_change()

    def exit(self, status: int) -> None:
        self.running = self.ready = False
        self._exit.set_result(status)
        self._on_change()

    def drain(self) -> None:
        if self.running and not self.draining:
            self.draining = True
            self.exit(0)


@pytest.fixture
async def restore_signals() -> AsyncIterator[None]:
    """Keep the actions of this process, which may itself run under nohup: asyncio would set the default ones."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, action in before.items():
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, action)


@pytest.fixture
async def supervised(monkeypatch: pytest.MonkeyPatch, restore_signals: None) -> AsyncIterator[Any]:
    monkeypatch.setattr(supervisor, "Worker", FakeWorker)
    monkeypatch.setattr(supervisor, "_MAX_BACKOFF_S", 0.05)
    monkeypatch.setattr(supervisor, "_SETTLE_S", 0)
    async with Supervisor([lambda: None] * 2, restart_on_sighup=True) as running:
        await async_until(lambda: all(worker.running for worker in running.workers))
        yield running


@pytest.mark.parametrize("restart", [False, True])
async def test_under_nohup_a_hangup_may_restart_workers_but_not_stop_them(
    restart: bool, monkeypatch: pytest.MonkeyPatch, restore_signals: None
) -> None:
    monkeypatch.setattr(supervisor, "Worker", FakeWorker)
    monkeypatch.setattr(supervisor, "_SETTLE_S", 0)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    async with Supervisor([lambda: None], restart_on_sighup=restart) as running:
        (worker,) = running.workers
        await async_until(lambda: worker.running)
        worker.become_ready()
        os.kill(os.getpid(), signal.SIGHUP)
        if restart:
            await async_until(lambda: worker.starts == 2)
        else:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert not running.stopping.is_set()


async def test_an_ignored_ctrl_c_stays_ignored(monkeypatch: pytest.MonkeyPatch, restore_signals: None) -> None:
    monkeypatch.setattr(supervisor, "Worker", FakeWorker)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as shells do for background jobs
    async with Supervisor([lambda: None], restart_on_sighup=True):
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN


async def test_a_worker_that_fails_before_it_is_ready_stops_all(supervised: Any) -> None:
    supervised.workers[0].exit(1)
    assert not await supervised.until(lambda: all(supervised.ready))
    assert supervised.failed


async def test_a_worker_that_ends_later_is_replaced(supervised: Any) -> None:
    first, second = supervised.workers
    first.become_ready()
    for count in (1, 2):
        first.exit(-9)
        await async_until(lambda count=count: first.starts == 1 + count)
    assert second.starts == 1
    assert not supervised.failed


async def test_a_process_that_cannot_be_started_is_tried_again(supervised: Any) -> None:
    first, _ = supervised.workers
    attempts: list[bool] = []

    def no_memory() -> None:
        attempts.append(True)
        raise OSError

    first.become_ready()
    first.start = no_memory
    first.exit(-9)
    await async_until(lambda: len(attempts) > 1)
    assert first.starts == 1
    first.start = lambda: None
    await async_until(lambda: first.starts == 2)


async def test_a_restart_waits_for_each_replacement(supervised: Any) -> None:
    first, second = supervised.workers
    first.become_ready()
    second.become_ready()
    restart = asyncio.create_task(supervised._restart())
    await async_until(lambda: first.starts == 2)
    assert second.starts == 1
    first.become_ready()
    await async_until(lambda: second.starts == 2)
    second.become_ready()
    assert await restart == ""


@pytest.mark.parametrize("fails", [True, False])
async def test_a_restart_stops_if_a_replacement_is_not_ready(
    supervised: Any, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fails:
        monkeypatch.setattr(supervisor, "_RESTART_TIMEOUT_S", 0.2)
    first, second = supervised.workers
    first.become_ready()
    second.become_ready()
    restart = asyncio.create_task(supervised._restart())
    await async_until(lambda: first.starts == 2)
    if fails:
        first.exit(1)
    assert await restart == "worker 0 did not become ready"
    assert second.starts == 1


async def test_a_restart_does_not_begin_while_another_worker_is_not_ready(supervised: Any) -> None:
    supervised.workers[0].become_ready()
    assert await supervised._restart() == "worker 1 is not ready"
    assert supervised.workers[0].starts == 1
