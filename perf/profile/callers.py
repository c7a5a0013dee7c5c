"""`python -m perf.profile.callers`: what a rate limit costs with up to a million callers.

Prints the time of a call relative to that with one caller, and the memory of a caller. Beyond the bound on callers, the
oldest are forgotten. Only the ratios count: absolute times depend on the machine.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from app.access import RateLimit

CALLERS = (1, 10_000, 100_000, 1_000_000)
CALLS, ROUNDS = 2000, 5
_PAGE_BYTES = 4096


def address(number: int) -> str:
    return f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::/64"


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


async def cost_us(limit: RateLimit, callers: int) -> float:
    """Return the processor time of a call: half of them are by callers that have called before."""
    rounds = []
    for turn in range(ROUNDS):
        names = [
            address(number % callers if number % 2 else callers + turn * CALLS + number) for number in range(CALLS)
        ]
        started_s = time.process_time()
        for name in names:
            await limit.take(name, 1)
            await asyncio.sleep(0)  # what the call leaves to the event loop counts, too
        rounds.append((time.process_time() - started_s) / CALLS * 1e6)
    return statistics.median(rounds)


async def measure(rate: str, numbers: Sequence[int]) -> list[tuple[int, float, int]]:
    """Return for each number of callers the microseconds of a call and the bytes of all callers."""
    rows = []
    for callers in numbers:
        limit = RateLimit(rate, "memory")
        before = resident_bytes()
        for number in range(callers):
            await limit.take(address(number), 1)
        after = resident_bytes()
        rows.append((callers, await cost_us(limit, callers), after - before))
        await limit.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.profile.callers", description=__doc__)
    parser.add_argument("--rate", default="1000/hour", help="the rate limit (%(default)s)")
    parser.add_argument("--callers", type=int, nargs="+", default=CALLERS, help="how many callers (%(default)s)")
    args = parser.parse_args()
    rows = asyncio.run(measure(args.rate, args.callers))
    print(f"{'callers':>9} {'µs per call':>12} {'ratio':>6} {'bytes per caller':>17} {'MB':>6}")
    for callers, us, memory in rows:
        print(f"{callers:9} {us:12.2f} {us / rows[0][1]:6.2f} {memory / callers:17.0f} {memory / 1e6:6.1f}")


if __name__ == "__main__":
    main()
