"""`make perf-gate`: start the service, put a realistic load on it and fail when p95 is over the limit.

The limit is in milliseconds, so it is the load that follows the machine: a share of the texts that the bare model does
per second, measured in the moment before the service is started. A slower service does not get a lighter load by that.
"""

import argparse
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from app.model import load_model
from app.runner import pad
from perf.feedback import Feedback
from perf.load import ROOT, running


def main() -> None:
    """Run the gate; its exit status is locust's."""
    parser = argparse.ArgumentParser(prog="python -m perf.gate", description=__doc__)
    parser.add_argument("--share", type=float, default=0.4, help="of the texts/s that the bare model does")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--p95-ms", type=float, default=100)
    parser.add_argument("--backend", default="auto", help="of the service; the load is for the embedded model")
    args = parser.parse_args()

    texts_per_s = ceiling(seconds=3)
    requests = [Feedback(seed).request() for seed in range(2000)]
    texts = [len(request.body["texts"]) if request.kind == "list" else request.kind == "single" for request in requests]
    users = max(1, round(args.share * texts_per_s * len(requests) / sum(texts)))
    print(f"bare model: {texts_per_s:.0f} texts/s; load: {args.share:.0%} of that, {users} requests/s", flush=True)
    with running([sys.executable, "-m", "app", "serve", "--backend", args.backend, "--port"]) as address:
        command = [
            *(sys.executable, "-m", "locust", "-f", str(ROOT / "perf" / "locustfile.py"), "--headless"),
            *(
                "--only-summary",
                "--reset-stats",
                "--host",
                address,
                "--users",
                str(users),
                "--spawn-rate",
                str(users / 5),
            ),
            *("--run-time", f"{args.seconds}s", "--p95-ms", str(args.p95_ms)),
        ]
        sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)


def ceiling(seconds: float) -> float:
    """Texts per second of the embedded model alone, one text at a time on each core."""
    model = load_model("sentiment-en", backend="onnx")
    encodings = model.tokenizer.encode_many(Feedback(0).texts(500))
    ends = time.perf_counter() + seconds

    def work(offset: int) -> int:
        done = 0
        while time.perf_counter() < ends:
            model.backend.run(pad([encodings[(offset + done) % len(encodings)]], 0))
            done += 1
        return done

    with ThreadPoolExecutor(model.backend.slots) as pool:
        return sum(pool.map(work, range(0, 500, 500 // model.backend.slots))) / seconds


if __name__ == "__main__":
    main()
