"""The endpoints that report the state of the service."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

from fastapi.routing import APIRoute

from app.api import schemas
from app.api.status import status_router
from app.metrics import Metrics
from app.serving.lifecycle import Lifecycle
from app.serving.registry import Registry
from tests.support.waiting import HANG_S


class _SlowMetrics:
    """Metrics that render until the event loop has taken a turn, and count concurrent renderings."""

    def __init__(self) -> None:
        self.rendering = self.most = 0
        self.turn = threading.Event()

    def count_versions(self, counts: object) -> None: ...

    def state(self, **_: Any) -> None: ...

    def exposition(self, _accept: str) -> tuple[bytes, str]:
        self.rendering += 1
        self.most = max(self.most, self.rendering)
        assert self.turn.wait(HANG_S)
        self.turn.clear()
        self.rendering -= 1
        return b"a 1\n", "text/plain"


async def test_metrics_are_rendered_one_at_a_time_and_off_the_event_loop() -> None:
    metrics = _SlowMetrics()
    lifecycle = SimpleNamespace(predicted_wait_ms=0.0, status="ok", queue_depth=0, registry=Registry())
    router = status_router(
        cast("Lifecycle", lifecycle), cast("Metrics", metrics), cast("schemas.Limits", SimpleNamespace())
    )
    look = next(each.endpoint for each in router.routes if isinstance(each, APIRoute) and each.path == "/metrics")
    looks = asyncio.gather(*(look() for _ in range(5)))
    while not looks.done():
        await asyncio.sleep(0)
        if metrics.rendering:
            metrics.turn.set()
    assert {response.body for response in await looks} == {b"a 1\n"}
    assert metrics.most == 1
