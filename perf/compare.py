"""`make bench`: requests/s and latency beside the server of the tutorials, same model file, same texts, same run.

The servers take turns, several times, each alone on the machine with wrk; the ratio of medians is what counts.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from perf.texts import sentences

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "sentiment-en"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m perf.compare", description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--seconds", type=int, default=8, help="of load per server, connections and round")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed: apt-get install wrk")

    results: dict[tuple[str, int], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bodies = Path(folder) / "bodies"
        bodies.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences(60_000)))
        for turn in range(args.rounds):
            for name, command in _SERVERS.items():
                with _running(command) as address:
                    _load(address, bodies, connections=8, seconds=2)  # warm
                    for connections in args.connections:
                        found = _load(address, bodies, connections, args.seconds)
                        results.setdefault((name, connections), []).append(found)
                        print(
                            f"  round {turn + 1}/{args.rounds}  {name:13} {connections:3} connections", file=sys.stderr
                        )
    print(f"{'':14}" + "".join(f"{f'{number} connections':>34}" for number in args.connections))
    print(f"{'':14}" + f"{'requests/s   p50   p95 ms  failed':>34}" * len(args.connections))
    for name in _SERVERS:
        print(f"{name:14}" + "".join(_cell(results[name, number]) for number in args.connections))
    ours, theirs = _SERVERS
    ratios = (_median(results[ours, n], "rate") / _median(results[theirs, n], "rate") for n in args.connections)
    print(f"{'ratio':14}" + "".join(f"{f'{ratio:.2f} x':>34}" for ratio in ratios))


_SERVERS = {
    "rt-sentiment": [sys.executable, "-m", "app", "serve", "--cache-entries", "0", "--port"],
    "tutorial": [sys.executable, "-m", "uvicorn", "perf.tutorial:app", "--no-access-log", "--port"],
}


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"TUTORIAL_MODEL": str(MODEL)}
    with subprocess.Popen([*command, str(port)], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_for_answer(address)
            yield address
        finally:
            process.terminate()


def _wait_for_answer(address: str) -> None:
    request = urllib.request.Request(
        f"{address}/predict", json.dumps({"text": "good"}).encode(), {"Content-Type": "application/json"}
    )
    for _ in range(600):
        try:
            with urllib.request.urlopen(request) as response:
                assert response.status == 200
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"no answer from {address}")


def _load(address: str, bodies: Path, connections: int, seconds: int) -> dict[str, float]:
    threads = "1" if connections == 1 else "2"
    done = subprocess.run(
        ["wrk", "-t", threads, "-c", str(connections), "-d", f"{seconds}s", "-s", str(ROOT / "perf" / "wrk.lua"),
         f"{address}/predict"],
        env=os.environ | {"BODIES": str(bodies)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found | {"rate": found["requests"] / found["seconds"]}


def _median(rounds: list[dict[str, float]], figure: str) -> float:
    return statistics.median(found[figure] for found in rounds)


def _cell(rounds: list[dict[str, float]]) -> str:
    failed = sum(found["failed"] for found in rounds)
    rate, p50, p95 = (_median(rounds, figure) for figure in ("rate", "p50_ms", "p95_ms"))
    return f"{f'{rate:.0f} {p50:7.1f} {p95:7.1f} {failed:7.0f}':>34}"


if __name__ == "__main__":
    main()
