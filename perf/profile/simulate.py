"""`python -m perf.profile.simulate`: what the forming of batches gains, from 1 core to 64, in simulated time.

The policy of the service (`app.scheduling.queue`, as it is) and those of others are fed with the same texts, and a
batch takes what the measured cost model says: fixed milliseconds, and some for each token, padded or not. Nothing else
costs, so this compares policies and predicts no server: beyond a few cores one event loop is slower than the model, and
more processes are the remedy.
"""

import argparse
import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Protocol

import numpy as np

from app.scheduling.cost import CostModel
from app.scheduling.queue import BatchQueue, Entry, padded_tokens
from perf.load.bare import Bare
from perf.load.feedback import Feedback

SIZE, TOKENS = 16, 512  # of a batch at most, the service's own limits on a processor
TIMER_S = 0.005


class Policy(Protocol):
    """Who goes into the next batch."""

    def push(self, text: Entry) -> None: ...

    def take(self, idle_slots: int, now_s: float) -> list[Entry]:
        """The next batch, or nothing."""

    def due_s(self) -> float:
        """When to ask again although nothing has come or gone; infinite where that changes nothing."""

    def tokens_of(self, batch: Sequence[Entry]) -> int:
        """What the model runs for a batch, padding included."""


class Ours:
    """Formed when a slot is free: those that wait longest in common rows or, padded, those of like length."""

    def __init__(self, cost: CostModel, size: int, tokens: int, *, packs: bool = True) -> None:
        self._queue: BatchQueue[Entry] = BatchQueue(cost, max_batch_size=size, max_batch_tokens=tokens, packs=packs)
        self.tokens_of = self._queue.tokens_of

    def push(self, text: Entry) -> None:
        self._queue.push(text)

    def take(self, idle_slots: int, now_s: float) -> list[Entry]:  # noqa: ARG002
        return self._queue.take(idle_slots)

    def due_s(self) -> float:
        return math.inf


class Fifo:
    """Formed when a slot is free, in the order in which texts came, padded to the longest of them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._queue: deque[Entry] = deque()

    def push(self, text: Entry) -> None:
        self._queue.append(text)

    def take(self, idle_slots: int, now_s: float) -> list[Entry]:  # noqa: ARG002
        return [self._queue.popleft() for _ in range(min(self._size, math.ceil(len(self._queue) / idle_slots)))]

    def due_s(self) -> float:
        return math.inf

    def tokens_of(self, batch: Sequence[Entry]) -> int:
        return padded_tokens(batch)


class Timer(Fifo):
    """Formed when it is full, or when its first text has waited for so long."""

    def take(self, idle_slots: int, now_s: float) -> list[Entry]:  # noqa: ARG002
        if len(self._queue) < self._size and now_s < self.due_s():
            return []
        return [self._queue.popleft() for _ in range(min(self._size, len(self._queue)))]

    def due_s(self) -> float:
        return self._queue[0].due_s + TIMER_S if self._queue else math.inf


POLICIES: dict[str, Callable[[CostModel, int, int], Policy]] = {  # of the most texts and padded tokens of a batch
    "one at a time": lambda _cost, _size, _tokens: Fifo(1),
    "timer, padded": lambda _cost, size, _tokens: Timer(size),
    "FIFO, padded": lambda _cost, size, _tokens: Fifo(size),
    "ours, padded": partial(Ours, packs=False),
    "ours": Ours,
}


@dataclass(frozen=True)
class Result:
    """What a simulation found."""

    texts_per_s: float
    latency_ms: np.ndarray


def simulate(
    policy: Policy,
    tokens: Sequence[int],
    cost: CostModel,
    *,
    slots: int,
    arrivals_s: Iterable[float] | None = None,
    callers: int = 0,
) -> Result:
    """Give texts to a policy until all are answered.

    In an open loop they come at `arrivals_s`; in a closed one each of so many `callers` asks again when it is answered.
    """
    coming = [*arrivals_s] if arrivals_s is not None else [0.0] * callers
    heapq.heapify(coming)
    lengths = iter(tokens)
    left, asked, idle, now_s = len(tokens), 0, slots, 0.0
    ends: list[tuple[float, int, list[Entry]]] = []  # by time, then in the order of their starts
    started = count()
    latency_ms: list[float] = []
    while left:
        next_end_s = ends[0][0] if ends else math.inf
        next_come_s = coming[0] if coming and asked < len(tokens) else math.inf
        now_s = max(now_s, min(next_end_s, next_come_s, policy.due_s() if idle else math.inf))
        while ends and ends[0][0] <= now_s:
            batch = heapq.heappop(ends)[2]
            idle += 1
            left -= len(batch)
            latency_ms += [(now_s - text.due_s) * 1000 for text in batch]
            if arrivals_s is None:
                for _ in batch:
                    heapq.heappush(coming, now_s)
        while coming and asked < len(tokens) and coming[0] <= now_s:
            policy.push(Entry(next(lengths), heapq.heappop(coming)))
            asked += 1
        while idle and (batch := policy.take(idle, now_s)):
            idle -= 1
            heapq.heappush(ends, (now_s + cost.predict(policy.tokens_of(batch)) / 1000, next(started), batch))
    return Result(len(latency_ms) / now_s, np.array(latency_ms))


def measured(bare: Bare) -> CostModel:
    """The cost model of this machine: one thread, batches of several shapes."""
    cost = CostModel()
    for _ in range(5):
        for texts, length in ((1, 8), (1, 32), (4, 16), (1, 128), (8, 32), (16, 16), (16, 32), (4, 128)):
            cost.observe(texts * length, bare.milliseconds([[100] * length] * texts))
    return cost


def main() -> None:
    """Simulate and print two tables."""
    parser = argparse.ArgumentParser(prog="python -m perf.profile.simulate", description=__doc__)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--texts", type=int, default=3000, help="for each core")
    parser.add_argument("--callers", type=int, default=32, help="for each core, in the closed loop")
    parser.add_argument("--cost", type=float, nargs=2, metavar=("BASE_MS", "TOKEN_MS"), help="instead of measuring")
    parser.add_argument("--size", type=int, default=SIZE, help="texts of a batch at most (%(default)s)")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="its padded tokens at most (%(default)s)")
    args = parser.parse_args()
    bare = Bare()
    cost = CostModel(*args.cost) if args.cost else measured(bare)
    lengths = [len(ids) for ids in bare.encode(Feedback(0).texts(5000))]
    alone_ms = float(np.mean([cost.predict(length) for length in lengths]))
    print(f"a batch takes {cost.base_ms:.2f} ms and {cost.token_ms * 1000:.1f} µs for each token;")
    print(f"a text has {np.mean(lengths):.0f} tokens (p95 {np.percentile(lengths, 95):.0f}), alone {alone_ms:.2f} ms\n")

    print(f"texts/s, {args.callers} callers a core that ask again when they are answered; beside one at a time")
    print(f"{'cores':>5}" + "".join(f"{name:>18}" for name in POLICIES))
    for cores in args.cores:
        tokens = np.random.default_rng(cores).choice(lengths, args.texts * cores).tolist()
        rates = [
            simulate(
                make(cost, args.size, args.tokens), tokens, cost, slots=cores, callers=args.callers * cores
            ).texts_per_s
            for make in POLICIES.values()
        ]
        print(f"{cores:5}" + "".join(f"{f'{rate:.0f} {rate / rates[0]:.2f}x':>18}" for rate in rates), flush=True)

    for share in (0.5, 0.9):
        print(f"\nlatency, p50 and p99 ms, texts that come at random at {share:.0%} of what one at a time can do")
        print(f"{'cores':>5}" + "".join(f"{name:>18}" for name in POLICIES))
        for cores in args.cores:
            rng = np.random.default_rng(cores)
            tokens = rng.choice(lengths, args.texts * cores).tolist()
            rate_per_s = share * cores * 1000 / alone_ms
            arrivals_s = np.cumsum(rng.exponential(1 / rate_per_s, len(tokens))).tolist()
            found = [
                simulate(
                    make(cost, args.size, args.tokens), tokens, cost, slots=cores, arrivals_s=arrivals_s
                ).latency_ms
                for make in POLICIES.values()
            ]
            cells = (f"{np.percentile(ms, 50):.1f} {np.percentile(ms, 99):.1f}" for ms in found)
            print(f"{cores:5}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
