"""A service with a fake model, for tests of everything around the model."""

import math
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from app.errors import BackendError
from app.inference.backends.mock import mock_tokenizer
from app.inference.tokenizer import Tokenizer
from app.metrics import Metrics
from app.scheduling import CostModel, Lane, Scheduler, SchedulerLimits
from app.serving.cache import Cache
from app.serving.offload import Offload
from app.serving.query import Query
from app.serving.resolution import Item
from app.serving.service import Service
from app.serving.shared import SharedPredictions
from app.types import Answer, Encoding, ModelInfo, Payload, Prediction
from tests.support.waiting import HANG_S

MAX_TOKENS = 8


INFO = ModelInfo(
    model="m",
    model_version="1",
    labels=tuple(map(str, range(1, MAX_TOKENS + 1))),
    max_tokens=MAX_TOKENS,
    temperature=1.0,
    backend="mock",
    device="cpu",
    precision="fp32",
    checksum=None,
)
OF_MODEL = {"model": "m", "model_version": "1"}  # labels of its metrics


@dataclass
class Bench:
    """A service whose fake model labels a text with its number of tokens, 8 at most.

    The model waits until `open` is set, and fails on texts whose number of tokens is in `failing`.
    """

    service: Service
    scheduler: Scheduler[Payload, Prediction]
    cache: Cache[bytes, Prediction, Item] = field(default_factory=lambda: Cache(0))
    runs: list[list[int]] = field(default_factory=list)  # number of tokens of each text, by batch
    open: threading.Event = field(default_factory=threading.Event)
    failing: set[int] = field(default_factory=set)
    metrics: Metrics = field(default_factory=lambda: Metrics(CollectorRegistry()))

    async def predict(self, *texts: str, timeout_ms: float = HANG_S * 1000, **options: Any) -> Answer:
        return await self.service.predict(Query(texts, timeout_ms, **options))

    async def labels(self, *texts: str, **options: Any) -> list[str]:
        answer = await self.predict(*texts, **options)
        return [prediction.label for prediction in answer.predictions]

    def run(self, encodings: Sequence[Encoding], *, alone: bool = False) -> list[Prediction | Exception]:
        """Run the fake model on a batch."""
        self.runs.append([len(encoding) for encoding in encodings])
        assert self.open.wait(HANG_S)
        return [
            BackendError("no")
            if len(encoding) in self.failing
            else Prediction(str(len(encoding)), 1.0, scores(len(encoding)), encoding.truncated)
            for encoding in encodings
        ]

    def count(self, outcome: str) -> float:
        """Return how many texts were looked up with this outcome: hit, miss or joined."""
        return self.metrics.registry.get_sample_value("sentiment_cache_total", {"outcome": outcome}) or 0


def scores(length: int) -> dict[str, float]:
    """Return the scores of a text of `length` tokens: 1 for its label, 0 for all others."""
    return {str(other): float(other == length) for other in range(1, MAX_TOKENS + 1)}


@asynccontextmanager
async def serving(
    *,
    entries: int = 100,
    is_open: bool = True,
    skips_padding: bool = False,
    cache_per_caller: bool = False,
    shared: SharedPredictions | None = None,
    **limits: float,
) -> AsyncIterator[Bench]:
    """Yield a service with one slot, a cache of `entries` predictions and the `limits` of its scheduler.

    Unless `is_open`, the model waits until the test sets `open`.
    """
    bench = Bench(None, None)  # type: ignore[arg-type]
    scheduler: Scheduler[Payload, Prediction] = Scheduler(
        slots=1,
        limits=SchedulerLimits(**{"max_wait_ms": math.inf, "run_timeout_s": HANG_S, **limits}),  # type: ignore[arg-type]
        cost=CostModel(),
        observer=bench.metrics,
        on_stall=lambda: None,
    )
    bench.scheduler = scheduler
    cache: Cache[bytes, Prediction, Item] = Cache(entries)
    tokenizer = Tokenizer(mock_tokenizer(), MAX_TOKENS)
    bench.service = Service(
        tokenizer,
        scheduler,
        Lane(bench.run, skips_padding=skips_padding),
        cache,
        offload=Offload(),
        observer=bench.metrics.model_loaded(INFO, slots=1),
        model="m@1",
        max_text_chars=5000,
        cache_per_caller=cache_per_caller,
        shared=shared,
    )
    bench.cache = cache
    if is_open:
        bench.open.set()
    try:
        yield bench
    finally:
        bench.open.set()
        scheduler.close()
