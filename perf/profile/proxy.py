"""`make bench-nginx`: what nginx adds to a request. One replica is asked directly and through nginx, in turns.

Repeated texts, from the cache, so that the service itself adds as little noise as it can.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from nginx.process import free_port
from nginx.proxy import Nginx, configure
from perf.load.server import load, median, running, wrk_or_exit
from perf.load.texts import sentences


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m perf.profile.proxy", description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seconds", type=int, default=4, help="of load per way, connections and round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    wrk_or_exit()
    with running([sys.executable, "-m", "app", "serve", "--port"]) as address:
        asyncio.run(_measure(address, args.connections, args.seconds, args.rounds))


async def _measure(replica: str, numbers: list[int], seconds: int, rounds: int) -> None:
    port = free_port()
    ways = {"direct": replica, "nginx": f"http://127.0.0.1:{port}"}
    results: dict[tuple[str, int], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bodies = Path(folder) / "bodies"
        bodies.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences(100)))
        prefix = configure(Path(folder), "127.0.0.1", port, [int(replica.rpartition(":")[2])])
        nginx = await Nginx.start(prefix, quiet=True)
        try:
            load(replica, bodies, connections=1, seconds=2)  # fills the cache
            for _ in range(rounds):
                for number in numbers:
                    for way, address in ways.items():
                        results.setdefault((way, number), []).append(load(address, bodies, number, seconds))
        finally:
            await nginx.end()
    print(f"{'':14}{'p50 ms direct':>14}{'through nginx':>14}{'added':>8}{'failed':>8}")
    for number in numbers:
        direct, through = (median(results[way, number], "p50_ms") for way in ways)
        failed = sum(found["failed"] for way in ways for found in results[way, number])
        print(f"{f'{number} connections':14}{direct:14.3f}{through:14.3f}{through - direct:8.3f}{failed:8.0f}")


if __name__ == "__main__":
    main()
