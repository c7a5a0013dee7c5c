"""`python -m perf.profile.simulate`: what batching gains on 1 to 64 cores, in simulated time.

Feeds the same texts to the batching policy of the service (`app.scheduling`) and to simpler policies. A batch
takes the time that the cost model gives: a fixed part, and a part per token including padding. Nothing else takes time,
so the results compare policies but do not predict the speed of a server. With more than a few cores, one event loop is
slower than the model, and a server needs several processes.
"""

import argparse
import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from app.capacity import Policy, Result, ServicePolicy, Simulation, Text
from app.scheduling import CostModel, padded_tokens
from perf.load.bare_model import BareModel
from perf.load.feedback import Feedback

MAX_BATCH_SIZE, MAX_BATCH_TOKENS = 16, 512  # the limits of the service on a CPU
TIMER_S = 0.005


class Fifo:
    """Forms a batch when a slot is free, in order of arrival, padded to the longest text."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._queue: deque[Text] = deque()

    def push(self, text: Text) -> None:
        self._queue.append(text)

    def take(self, now_s: float, idle_slots: int, slots: int, busy_ms: float) -> list[Text]:  # noqa: ARG002
        return [self._queue.popleft() for _ in range(min(self._size, math.ceil(len(self._queue) / idle_slots)))]

    def due_s(self) -> float:
        return math.inf

    def backlog_ms(self) -> float:
        return 0.0  # nothing is refused

    def costs_of(self, batch: Sequence[Text]) -> list[int]:
        return [padded_tokens(batch)]

    def finish(self, batch: Sequence[Text]) -> Sequence[Text]:
        return batch


class Timer(Fifo):
    """Forms a batch when it is full, or when its first text has waited for `TIMER_S`."""

    def take(self, now_s: float, idle_slots: int, slots: int, busy_ms: float) -> list[Text]:  # noqa: ARG002
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


def simulate(
    policy: Policy,
    tokens: Sequence[int],
    cost: CostModel,
    *,
    slots: int,
    arrivals_s: Sequence[float] | None = None,
    clients: int = 0,
) -> Result:
    """Give texts to a policy until all are answered: see `Simulation.run`."""
    return Simulation([policy], cost, slots=slots).run(tokens, arrivals_s=arrivals_s, clients=clients)


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
