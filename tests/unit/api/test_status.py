"""The endpoints that report the state of the service."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

from fastapi.routing import APIRoute

from app.api import schemas
from app.api.status import status_router
from app.metrics import Metrics
from app.serving.lifecycle import Lifecycle


class _SlowMetrics:
    """Metrics that take a moment to render, and count concurrent renderings."""

    def __init__(self) -> None:
        self.rendering = self.most = 0

    def state(self, **_: Any) -> None: ...

    def exposition(self) -> bytes:
        self.rendering += 1
        self.most = max(self.most, self.rendering)
        time.sleep(0.02)
        self.rendering -= 1
        return b"a 1\n"


async def test_metrics_are_rendered_one_at_a_time_and_off_the_event_loop() -> None:
    metrics, lifecycle = _SlowMetrics(), SimpleNamespace(predicted_wait_ms=0.0, status="ok", queue_depth=0)
    router = status_router(
        cast("Lifecycle", lifecycle), cast("Metrics", metrics), cast("schemas.Limits", SimpleNamespace())
    )
    look = next(each.endpoint for each in router.routes if isinstance(each, APIRoute) and each.path == "/metrics")
    looks = asyncio.gather(*(look() for _ in range(5)))
    turns = 0
    while not looks.done():
        await asyncio.sleep(0)
        turns += metrics.rendering
    assert {response.body for response in await looks} == {b"a 1\n"}
    assert metrics.most == 1
    assert turns > 0
