"""`python -m perf.profile.simulate`: what batching gains on 1 to 64 cores, in simulated time.

Feeds the same texts to the batching policy of the service (`app.scheduling.queue`) and to simpler policies. A batch
takes the time that the cost model gives: a fixed part, and a part per token including padding. Nothing else takes time,
so the results compare policies but do not predict the speed of a server. With more than a few cores, one event loop is
slower than the model, and a server needs several processes.
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

from app.scheduling import BatchQueue, CostModel, Entry, Lane
from app.scheduling.entry import padded_tokens, tokens_of
from perf.load.bare_model import BareModel
from perf.load.feedback import Feedback

MAX_BATCH_SIZE, MAX_BATCH_TOKENS = 16, 512  # the limits of the service on a CPU
TIMER_S = 0.005


class Policy(Protocol):
    """Decides which texts form the next batch."""

    def push(self, text: Entry) -> None: ...

    def take(self, now_s: float, idle_slots: int, slots: int, busy_ms: float) -> list[Entry]:
        """Return the next batch, or an empty list. The slots that run need `busy_ms` more, added up."""

    def due_s(self) -> float:
        """When `take` may return a batch even if nothing arrives or finishes; infinite if never."""

    def tokens_of(self, batch: Sequence[Entry]) -> int:
        """Tokens that the model runs for a batch, including padding."""


def _run(payloads: Sequence[object], *, alone: bool = False) -> Sequence[object]:
    raise NotImplementedError("nothing runs here: time is computed")


_LANE = Lane(_run)


class ServicePolicy:
    """The service: forms a batch when a slot is free.

    If the model skips padding, the texts that have waited longest share a batch. Otherwise texts of similar length do.
    """

    def __init__(self, cost: CostModel, size: int, tokens: int, *, skips_padding: bool = True) -> None:
        self._queue: BatchQueue[Entry] = BatchQueue(cost, max_batch_size=size, max_batch_tokens=tokens)
        self._lane = Lane(_run, skips_padding=skips_padding)

    def push(self, text: Entry) -> None:
        text.lane = self._lane
        self._queue.push(text)

    def take(self, now_s: float, idle_slots: int, slots: int, busy_ms: float) -> list[Entry]:  # noqa: ARG002
        return self._queue.take(slots, busy_ms)

    def due_s(self) -> float:
        return math.inf

    def tokens_of(self, batch: Sequence[Entry]) -> int:
        return tokens_of(batch)


class Fifo:
    """Forms a batch when a slot is free, in order of arrival, padded to the longest text."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._queue: deque[Entry] = deque()

    def push(self, text: Entry) -> None:
        self._queue.append(text)

    def take(self, now_s: float, idle_slots: int, slots: int, busy_ms: float) -> list[Entry]:  # noqa: ARG002
        return [self._queue.popleft() for _ in range(min(self._size, math.ceil(len(self._queue) / idle_slots)))]

    def due_s(self) -> float:
        return math.inf

    def tokens_of(self, batch: Sequence[Entry]) -> int:
        return padded_tokens(batch)


class Timer(Fifo):
    """Forms a batch when it is full, or when its first text has waited for `TIMER_S`."""

    def take(self, now_s: float, idle_slots: int, slots: int, busy_ms: float) -> list[Entry]:  # noqa: ARG002
        if len(self._queue) < self._size and now_s < self.due_s():
            return []
        return [self._queue.popleft() for _ in range(min(self._size, len(self._queue)))]

    def due_s(self) -> float:
        return self._queue[0].due + TIMER_S if self._queue else math.inf


POLICIES: dict[str, Callable[[CostModel, int, int], Policy]] = {  # arguments: maximum texts and tokens of a batch
    "one at a time": lambda _cost, _size, _tokens: Fifo(1),
    "timer, padded": lambda _cost, size, _tokens: Timer(size),
    "FIFO, padded": lambda _cost, size, _tokens: Fifo(size),
    "service, padded": partial(ServicePolicy, skips_padding=False),
    "service, mixed": ServicePolicy,
}


@dataclass(frozen=True)
class Result:
    texts_per_s: float
    latency_ms: np.ndarray


def simulate(
    policy: Policy,
    tokens: Sequence[int],
    cost: CostModel,
    *,
    slots: int,
    arrivals_s: Iterable[float] | None = None,
    clients: int = 0,
) -> Result:
    """Give texts to a policy until all are answered.

    In an open loop they arrive at `arrivals_s`. In a closed loop each of `clients` sends the next text when it has the
    answer to the previous one.
    """
    arrivals = [*arrivals_s] if arrivals_s is not None else [0.0] * clients
    heapq.heapify(arrivals)
    lengths = iter(tokens)
    unanswered, arrived, idle, now_s = len(tokens), 0, slots, 0.0
    running: list[tuple[float, int, list[Entry]]] = []  # by end time, then by start order
    started = count()
    latency_ms: list[float] = []
    while unanswered:
        next_end_s = running[0][0] if running else math.inf
        next_arrival_s = arrivals[0] if arrivals and arrived < len(tokens) else math.inf
        now_s = max(now_s, min(next_end_s, next_arrival_s, policy.due_s() if idle else math.inf))
        while running and running[0][0] <= now_s:
            batch = heapq.heappop(running)[2]
            idle += 1
            unanswered -= len(batch)
            latency_ms += [(now_s - text.due) * 1000 for text in batch]
            if arrivals_s is None:
                for _ in batch:
                    heapq.heappush(arrivals, now_s)
        while arrivals and arrived < len(tokens) and arrivals[0] <= now_s:
            policy.push(Entry(next(lengths), heapq.heappop(arrivals), _LANE))
            arrived += 1
        while idle:
            busy_ms = sum(end_s - now_s for end_s, _, _ in running) * 1000
            if not (batch := policy.take(now_s, idle, slots, busy_ms)):
                break
            idle -= 1
            heapq.heappush(running, (now_s + cost.predict(policy.tokens_of(batch)) / 1000, next(started), batch))
    return Result(len(latency_ms) / now_s, np.array(latency_ms))


def measure_cost(model: BareModel) -> CostModel:
    """Fit the cost model to this machine: one thread, batches of several shapes."""
    cost = CostModel()
    for _ in range(5):
        for texts, length in ((1, 8), (1, 32), (4, 16), (1, 128), (8, 32), (16, 16), (16, 32), (4, 128)):
            cost.observe(texts * length, model.batch_ms([[100] * length] * texts))
    return cost


def main() -> None:
    """Simulate and print three tables."""
    parser = argparse.ArgumentParser(prog="python -m perf.profile.simulate", description=__doc__)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--texts", type=int, default=3000, help="number of texts per core (%(default)s)")
    parser.add_argument(
        "--clients", "--callers", type=int, default=32, help="clients per core in the closed loop (%(default)s)"
    )
    parser.add_argument(
        "--cost", type=float, nargs=2, metavar=("BASE_MS", "TOKEN_MS"), help="cost of a batch (default: measured)"
    )
    parser.add_argument("--size", type=int, default=MAX_BATCH_SIZE, help="maximum texts of a batch (%(default)s)")
    parser.add_argument("--tokens", type=int, default=MAX_BATCH_TOKENS, help="maximum tokens of a batch (%(default)s)")
    args = parser.parse_args()
    model = BareModel()
    cost = CostModel(*args.cost) if args.cost else measure_cost(model)
    lengths = [len(ids) for ids in model.encode(Feedback(0).texts(5000))]
    alone_ms = float(np.mean([cost.predict(length) for length in lengths]))
    print(f"cost of a batch: {cost.base_ms:.2f} ms + {cost.token_ms * 1000:.1f} µs per token")
    print(f"texts: {np.mean(lengths):.0f} tokens (p95 {np.percentile(lengths, 95):.0f}), {alone_ms:.2f} ms alone\n")

    header = f"{'cores':>5}" + "".join(f"{name:>18}" for name in POLICIES)
    print(f"closed loop, {args.clients} clients per core: texts/s, and the ratio to one at a time\n{header}")
    for cores in args.cores:
        tokens = np.random.default_rng(cores).choice(lengths, args.texts * cores).tolist()
        rates = [
            simulate(
                make(cost, args.size, args.tokens), tokens, cost, slots=cores, clients=args.clients * cores
            ).texts_per_s
            for make in POLICIES.values()
        ]
        print(f"{cores:5}" + "".join(f"{f'{rate:.0f} {rate / rates[0]:.2f}x':>18}" for rate in rates), flush=True)

    for share in (0.5, 0.9):
        print(f"\nopen loop at {share:.0%} of the maximum rate of one at a time: latency, p50 and p99 in ms\n{header}")
        for cores in args.cores:
            rng = np.random.default_rng(cores)
            tokens = rng.choice(lengths, args.texts * cores).tolist()
            rate_per_s = share * cores * 1000 / alone_ms
            arrivals_s = np.cumsum(rng.exponential(1 / rate_per_s, len(tokens))).tolist()
            latencies = [
                simulate(
                    make(cost, args.size, args.tokens), tokens, cost, slots=cores, arrivals_s=arrivals_s
                ).latency_ms
                for make in POLICIES.values()
            ]
            cells = (f"{np.percentile(ms, 50):.1f} {np.percentile(ms, 99):.1f}" for ms in latencies)
            print(f"{cores:5}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
