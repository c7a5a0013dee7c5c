"""What a process of the service costs on one core of this machine."""

import random
import statistics
from collections.abc import Sequence
from itertools import count, islice

from ...capacity import WHOLE, Costs
from ...config import Settings
from ...scheduling import CostModel
from ..sentences import sentence, sentences
from .depths import read_depths
from .server import Server, running

# Texts and words of the batches that are measured: the queue forms such batches, from one short text to full ones.
_SHAPES = ((1, 6), (1, 20), (1, 60), (4, 14), (4, 60), (8, 26), (16, 14), (16, 26))
_ROUNDS = 7
_REQUESTS = 300
_GROUP = 20
_WARM_UP = 50


def measure(settings: Settings) -> Costs:
    """Start servers with one slot, and measure them with one client. Takes some seconds. Raises `Failure`.

    A batch is measured through all layers.
    """
    cost = None
    if read_depths(settings, measured=False) != WHOLE:
        with running(settings.model_copy(update={"depth": "full"})) as server:
            cost = _fit(server)
    with running(settings) as server:
        cost = cost or _fit(server)
        texts = list(islice(sentences(), _WARM_UP + _REQUESTS))
        for text in texts[:_WARM_UP]:
            server.post("/predict", {"text": text})
        request_ms, besides_ms = _single(server, texts[_WARM_UP:])
        hit_ms, _ = _single(server, texts[_WARM_UP:])
        memory_mb = server.metric("process_resident_memory_bytes") / 2**20
    return Costs(cost.base_ms, cost.token_ms, request_ms, hit_ms, memory_mb, max(0.0, besides_ms - request_ms))


def _single(server: Server, texts: Sequence[str]) -> tuple[float, float]:
    """Return the event loop's milliseconds for a text, and those that the client waits for anything but the model.

    Both are medians, the first one of groups of texts.
    """
    loop_ms, besides_ms = [], []
    for start in range(0, len(texts), _GROUP):
        group = texts[start : start + _GROUP]
        begun_ms = server.event_loop_ms()
        timings = [server.post("/predict", {"text": text}) for text in group]
        loop_ms.append((server.event_loop_ms() - begun_ms) / len(group))
        besides_ms += [each.wall_ms - each.infer_ms for each in timings]
    return statistics.median(loop_ms), statistics.median(besides_ms)


def _fit(server: Server) -> CostModel:
    """Fit the cost model to medians: one slow moment must not count."""
    rng = random.Random(12)
    numbers = count(10_000)
    tokens: dict[tuple[int, int], list[float]] = {shape: [] for shape in _SHAPES}
    times_ms: dict[tuple[int, int], list[float]] = {shape: [] for shape in _SHAPES}
    ran = server.metric("sentiment_batch_padded_tokens_total")
    for _ in range(_ROUNDS):
        for shape in _SHAPES:
            number, words = shape
            texts = [sentence(rng, words, next(numbers)) for _ in range(number)]
            times_ms[shape].append(server.post("/predict/batch", {"texts": texts}).infer_ms)
            before, ran = ran, server.metric("sentiment_batch_padded_tokens_total")
            tokens[shape].append(ran - before)
    cost = CostModel()
    for shape in _SHAPES:
        cost.observe(round(statistics.median(tokens[shape])), statistics.median(times_ms[shape]))
    return cost
