"""`make bench-nginx`: the latency that nginx adds. One replica is measured directly and through nginx, in turn.

The texts repeat and come from the cache, so that the service itself adds little noise.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from nginx.process import free_port
from nginx.proxy import Nginx, configure
from perf.load.server import running
from perf.load.texts import sentences
from perf.load.wrk import median, require_wrk, run_wrk, write_bodies


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.profile.proxy", description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seconds", type=int, default=4, help="duration of the load per route, connections and round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    require_wrk()
    with running([sys.executable, "-m", "app", "serve", "--port"]) as address:
        asyncio.run(_measure(address, args.connections, args.seconds, args.rounds))


async def _measure(replica: str, numbers: list[int], seconds: int, rounds: int) -> None:
    port = free_port()
    addresses = {"direct": replica, "nginx": f"http://127.0.0.1:{port}"}
    results: dict[tuple[str, int], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bodies = write_bodies(Path(folder) / "bodies", ({"text": text} for text in sentences(100)))
        prefix = configure(Path(folder), "127.0.0.1", port, [int(replica.rpartition(":")[2])])
        nginx = await Nginx.start(prefix, quiet=True)
        try:
            run_wrk(replica, bodies, connections=1, seconds=2)  # fills the cache
            for _ in range(rounds):
                for number in numbers:
                    for way, address in addresses.items():
                        results.setdefault((way, number), []).append(run_wrk(address, bodies, number, seconds))
        finally:
            await nginx.end()
    print(f"{'':14}{'direct p50 ms':>16}{'nginx p50 ms':>14}{'added':>8}{'failed':>8}")
    for number in numbers:
        direct, through = (median(results[way, number], "p50_ms") for way in addresses)
        failed = sum(figures["failed"] for way in addresses for figures in results[way, number])
        print(f"{f'{number} connections':14}{direct:16.3f}{through:14.3f}{through - direct:8.3f}{failed:8.0f}")


if __name__ == "__main__":
    main()
