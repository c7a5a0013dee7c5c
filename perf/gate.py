"""`make perf-gate`: start the service, send a realistic load and fail if p95 latency is over the limit.

The limit is in milliseconds, so the load has to fit the machine. It is a share of the texts per second that the bare
model reaches, measured just before the service starts. Lists have up to 16 texts, but no more than the bare model
answers in a third of the limit: no service could answer longer ones in time on a slow processor.
"""

import argparse
import subprocess
import sys

from perf.load.bare_model import BareModel
from perf.load.feedback import LONGEST_LIST, Feedback
from perf.load.flags import positive, positive_integer
from perf.load.server import ROOT, running


def main() -> None:
    """Run the gate and exit with locust's status."""
    parser = argparse.ArgumentParser(prog="python -m perf.gate", description=__doc__)
    parser.add_argument("--share", type=positive, default=0.3, help="load as a share of the bare model's texts/s")
    parser.add_argument("--seconds", type=positive_integer, default=30, help="duration of the load")
    parser.add_argument("--p95-ms", type=positive, default=100, help="limit for the p95 latency of each route")
    parser.add_argument(
        "--backend", default="auto", help="backend of the service; the load is always based on the embedded model"
    )
    args = parser.parse_args()

    model = BareModel()
    texts_per_s = model.texts_per_s([[ids] for ids in model.encode(Feedback(0).texts(500))], seconds=3)
    longest_list = min(LONGEST_LIST, max(2, int(texts_per_s * args.p95_ms / 3000)))
    users = max(10, round(args.share * texts_per_s / _texts_per_request(longest_list)))
    load = f"{args.share:.0%} of that, {users} requests/s, lists of up to {longest_list} texts"
    print(f"bare model: {texts_per_s:.0f} texts/s; load: {load}", flush=True)
    with running([sys.executable, "-m", "app", "serve", "--backend", args.backend, "--port"]) as address:
        locust = [sys.executable, "-m", "locust", "-f", str(ROOT / "perf" / "locustfile.py"), "--headless"]
        flags = ["--users", str(users), "--spawn-rate", str(users), "--run-time", f"{args.seconds}s"]
        flags += ["--longest-list", str(longest_list), "--p95-ms", str(args.p95_ms)]
        command = [*locust, *flags, "--only-summary", "--host", address]
        sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)


def _texts_per_request(longest_list: int) -> float:
    requests = [Feedback(seed, longest_list).request() for seed in range(2000)]
    texts = {"single": lambda _: 1, "list": lambda body: len(body["texts"]), "bad": lambda _: 0}
    return sum(texts[request.kind](request.body) for request in requests) / len(requests)


if __name__ == "__main__":
    main()
