"""`python -m perf.profile.shared_cache`: when a shared cache in Redis pays: the model's time against a round trip.

Texts go, one at a time, to three services in turn, none with a cache of its own: one without a Redis, one that finds
each text in Redis, and one that asks Redis in vain and then runs the model. A ratio is the median over rounds of the
time divided by that of the first service in the same round. `pays from` is the share of hits from which texts take less
time on average. Redis is on this machine; `--round-trip-ms` adds the time of a network to each lookup.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry

from app.inference import Model, load_model
from app.metrics import Metrics
from app.serving import (
    Engine,
    Query,
    RedisStore,
    Service,
    ServingLimits,
    SharedCache,
    SharedCacheOptions,
)
from app.types import LongText
from perf.load.redis import running_redis
from perf.load.texts import of_length, sentences

_PATIENT_MS = 600_000.0
_KINDS: dict[str, LongText] = {"sentence": "truncate", "512 tokens": "truncate", "2000 tokens, windows": "window"}


class _DistantStore(RedisStore):
    """A Redis behind a network."""

    round_trip_s = 0.0

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        if self.round_trip_s:
            await asyncio.sleep(self.round_trip_s)
        return await super().get_many(keys)


def _texts(kind: str, number: int, seed: int) -> list[str]:
    if kind == "sentence":
        return sentences(number, seed)
    return of_length(number, int(kind.split(maxsplit=1)[0]), seed)


async def _service(model: Model, shared: SharedCache | None) -> Service:
    limits = ServingLimits(max_wait_ms=_PATIENT_MS, cache_entries=0, max_text_chars=100_000)
    engine = Engine(limits, Metrics(CollectorRegistry()), on_stall=lambda: None, shared=shared)
    observer = Metrics(CollectorRegistry()).model_loaded(model.info, model.backend.slots)
    return engine.serve(engine.prepare(model), model.runner.run, observer)


async def _each_ms(service: Service, texts: Sequence[str], long_text: LongText, outcome: str) -> tuple[float, float]:
    """Return the milliseconds and the milliseconds of processor time that a text takes."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    for text in texts:
        answer = await service.predict(Query([text], _PATIENT_MS, long_text=long_text))
        assert answer.cache == outcome, f"a {answer.cache} instead of a {outcome}"
    cpu_s = time.process_time() - began_cpu_s
    return (time.perf_counter() - began_s) / len(texts) * 1000, cpu_s / len(texts) * 1000


async def _compare(kind: str, sides: Mapping[str, Service], cache: SharedCache, *, rounds: int, count: int) -> str:
    times: dict[str, list[float]] = {name: [] for name in sides}
    costs: dict[str, list[float]] = {name: [] for name in sides}
    long_text = _KINDS[kind]
    for turn in range(rounds):
        shared, new = (_texts(kind, count, seed=2 * turn + half) for half in (0, 1))
        await _each_ms(sides["miss"], shared, long_text, "miss")  # which shares them
        await cache.written()
        for name, texts in (("model", shared), ("hit", shared), ("miss", new)):
            outcome = "hit" if name == "hit" else "miss"
            time_ms, cost_ms = await _each_ms(sides[name], texts, long_text, outcome)
            times[name].append(time_ms)
            costs[name].append(cost_ms)
    hit, miss = (_ratio(times, name) for name in ("hit", "miss"))
    pays = f"{max(0.0, (miss - 1) / (miss - hit)):.0%}" if hit < 1 else "never"
    model = statistics.median(times["model"])
    return f"{kind:24}{model:10.2f}{hit:10.3f}{miss:10.2f}{pays:>12}{_ratio(costs, 'hit'):12.3f}"


def _ratio(figures: Mapping[str, Sequence[float]], name: str) -> float:
    return statistics.median(own / alone for own, alone in zip(figures[name], figures["model"], strict=True))


async def _run(url: str, round_trip_ms: float, rounds: int, count: int) -> None:
    model = load_model("sentiment-en")
    _DistantStore.round_trip_s = round_trip_ms / 1000
    options = SharedCacheOptions(url, timeout_s=1.0)
    cache = SharedCache(_DistantStore(options), Metrics(CollectorRegistry()), timeout_s=options.timeout_s)
    cache.start()
    await cache.connected()
    sides = {"model": await _service(model, None), "hit": await _service(model, cache)}
    sides["miss"] = sides["hit"]
    print(f"{'':24}{'model, ms':>10}{'hit':>10}{'miss':>10}{'pays from':>12}{'hit, CPU':>12}")
    for kind in _KINDS:
        few = count if kind == "sentence" else max(2, count // 10)
        print(await _compare(kind, sides, cache, rounds=rounds, count=few), flush=True)
    await cache.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.profile.shared_cache", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--texts", type=int, default=200, help="sentences per round; a tenth of it for long texts")
    parser.add_argument("--round-trip-ms", type=float, default=0.0, help="added to each lookup (%(default)s)")
    args = parser.parse_args()
    with running_redis() as url:
        asyncio.run(_run(url, args.round_trip_ms, args.rounds, args.texts))


if __name__ == "__main__":
    main()
