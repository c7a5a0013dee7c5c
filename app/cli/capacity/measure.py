"""What a process of the service costs on one core of this machine."""

import random
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, repeat

from ...capacity import WHOLE, Costs
from ...config import Settings
from ...scheduling import CostModel
from ..sentences import sentence, sentences
from .depths import read_depths
from .server import Server, Timing, running

# Texts and words of the batches that are measured: the queue forms such batches, from one short text to full ones.
_SHAPES = ((1, 6), (1, 20), (1, 60), (4, 14), (4, 60), (8, 26), (16, 14), (16, 26))
_ROUNDS = 7
_LONE, _LONE_TEXTS, _LONE_S = (1, 20), 400, 5.0  # whose times are compared with the costs: so many, for so long
_REQUESTS = 300
_GROUP = 20
_WARM_UP = 50


def measure(settings: Settings) -> Costs:
    """Start servers with one slot, and measure them with one client. Takes some seconds. Raises `Failure`.

    A batch is measured through all layers.
    """
    fitted = None
    if read_depths(settings, measured=False) != WHOLE:
        with running(settings.model_copy(update={"depth": "full"})) as server:
            fitted = _fit(server)
    with running(settings) as server:
        cost, delays_ms = fitted or _fit(server)
        texts = list(islice(sentences(), _WARM_UP + _REQUESTS))
        for text in texts[:_WARM_UP]:
            server.post("/predict", {"text": text})
        request_ms, besides_ms = _single(server, texts[_WARM_UP:])
        hit_ms, _ = _single(server, texts[_WARM_UP:])
        memory_mb = server.metric("process_resident_memory_bytes") / 2**20
    extra_ms = max(0.0, besides_ms - request_ms)
    return Costs(cost.base_ms, cost.token_ms, request_ms, hit_ms, memory_mb, extra_ms, delays_ms=delays_ms)


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


def _fit(server: Server) -> tuple[CostModel, tuple[float, ...]]:
    """Fit the cost model to medians: one slow moment must not count. Also return how much longer lone texts took."""
    cost = CostModel()
    batches = _SHAPES * _ROUNDS
    runs = _run(server, chain(batches, repeat(_LONE)))
    measured = [*zip(batches, runs, strict=False)]
    for shape in _SHAPES:
        tokens, timings = zip(*(each for its_shape, each in measured if its_shape == shape), strict=True)
        cost.observe(round(statistics.median(tokens)), statistics.median(timing.infer_ms for timing in timings))
    lone_ms: list[float] = []
    until_s = time.monotonic() + _LONE_S
    while not lone_ms or (len(lone_ms) < _LONE_TEXTS and time.monotonic() < until_s):
        tokens_of_text, timing = next(runs)
        lone_ms.append(timing.wall_ms - cost.predict(round(tokens_of_text)))
    usual_ms = statistics.median(lone_ms)
    return cost, tuple(round(each - usual_ms, 3) for each in lone_ms)


def _run(server: Server, shapes: Iterable[tuple[int, int]]) -> Iterator[tuple[float, Timing]]:
    """Send lists with so many texts of so many words; return the tokens and the times of each."""
    rng = random.Random(12)
    ran = server.metric("sentiment_batch_padded_tokens_total")
    for number, (texts, words) in enumerate(shapes):
        body = {"texts": [sentence(rng, words, 10_000 + 100 * number + text) for text in range(texts)]}
        timing = server.post("/predict/batch", body)
        before, ran = ran, server.metric("sentiment_batch_padded_tokens_total")
        yield ran - before, timing
