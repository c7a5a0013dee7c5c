"""Live updates of jobs."""

import asyncio
import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest

from app.api import job_events
from app.api.job_events import JobEvents
from app.jobs import Job


def job(job_id: str, version: int = 0, **more: Any) -> Job:
    return Job(
        id=job_id,
        type="inference",
        owner="me",
        request={},
        created_at=0,
        updated_at=0,
        max_failures=1,
        ttl_s=1,
        version=version,
        **more,
    )


async def test_a_job_that_nobody_follows_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_events, "_ASK_EVERY_S", 0)

    versions = itertools.count(1)

    async def get_many(job_ids: Sequence[str]) -> list[Job | None]:
        if "leaves" in job_ids:
            await leaving.aclose()
        return [job(job_id, version=next(versions)) for job_id in job_ids]

    events = JobEvents(get_many, lambda: False)
    leaving, staying = (events.follow(job(job_id), None) for job_id in ("leaves", "stays"))
    await anext(leaving)
    for _ in range(3):
        await anext(staying)
    assert list(events._latest) == ["stays"]
    await staying.aclose()


async def test_an_error_in_one_round_does_not_end_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_events, "_ASK_EVERY_S", 0)
    rounds = itertools.count()

    async def get_many(job_ids: Sequence[str]) -> list[Job | None]:
        if next(rounds) == 0:
            raise ZeroDivisionError
        return [job(job_id, version=1) for job_id in job_ids]

    following = JobEvents(get_many, lambda: False).follow(job("a"), None)
    async with asyncio.timeout(60):
        assert b"id: 0" in await anext(following)
        assert b"id: 1" in await anext(following)
    await following.aclose()


async def test_a_training_that_diverges_is_followed_as_json() -> None:
    async def get_many(job_ids: Sequence[str]) -> list[Job | None]:
        return []

    following = JobEvents(get_many, lambda: False).follow(job("a", stage={"loss": float("nan")}), None)
    event = (await anext(following)).decode()
    await following.aclose()
    data = next(line for line in event.splitlines() if line.startswith("data: ")).removeprefix("data: ")
    assert json.loads(data, parse_constant=pytest.fail)["progress"]["loss"] is None
