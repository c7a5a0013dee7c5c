"""What our service does beyond single unique texts: singles beside lists, several processes, the start."""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from app.cpu import usable_cores
from perf.load.openloop import Phase, offer
from perf.load.server import ROOT, direct, load, running
from perf.load.texts import of_length, sentences
from perf.suite.ceiling import write
from perf.suite.turns import LIST

_SERVE = [sys.executable, "-m", "app", "serve"]


def beside_lists(seconds: float, per_s: float = 20) -> dict[str, float]:
    """Latency of single texts while one caller sends lists of 256 texts of 512 tokens, one after the other."""
    bodies = [json.dumps({"text": text}).encode() for text in sentences(5000)]
    big = json.dumps({"texts": of_length(LIST, 512)}).encode()
    over = threading.Event()
    answered = []

    def send(address: str) -> None:
        headers = {"Content-Type": "application/json", "X-Request-Timeout-Ms": "120000"}
        while not over.is_set():
            request = urllib.request.Request(f"{address}/predict/batch", big, headers)
            with direct.open(request, timeout=300) as response:
                answered.append(response.status)

    command = [*_SERVE, "--cache-entries", "0", "--request-timeout-ms", "120000", "--port"]
    with running(command) as address:
        found = {}
        for name in ("before", "beside"):
            if name == "beside":
                sender = threading.Thread(target=send, args=(address,))
                sender.start()
                time.sleep(1)
            sample = offer(address, bodies, [Phase(per_s, seconds)])
            good = sample.answered(200)
            found |= {f"{name}_p50_ms": good.percentile(50), f"{name}_p99_ms": good.percentile(99)}
            found[f"{name}_not_answered"] = len(sample) - len(good)
        over.set()
        sender.join()
    if not answered:
        sys.exit("no list was answered: there was nothing beside the single texts")
    return found | {"lists": len(answered)}


def side_by_side(seconds: int, connections: int = 64) -> dict[str, float]:
    """Requests per second of one process on all cores, of workers, and of replicas behind nginx, one a core."""
    cores = str(usable_cores())
    ways = {
        "one process": [*_SERVE, "--port"],
        "workers": [*_SERVE, "--workers", cores, "--port"],
        "replicas behind nginx": [sys.executable, "-m", "nginx.replicas", "--replicas", cores, "--port"],
    }
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        bodies = write(Path(folder) / "bodies", sentences(30_000))
        for name, command in ways.items():
            with running(command, environment={"SENTIMENT_CACHE_ENTRIES": "0"}) as address:
                time.sleep(3)  # one of them answers; the others may be loading yet
                load(address, bodies, connections, 3)  # warm
                found[name] = load(address, bodies, connections, seconds)["rate"]
    return found


def start(times: int = 5) -> dict[str, float]:
    """Seconds from the command to the first answer, and memory then."""
    taken, resident = [], []
    for _ in range(times):
        begun_s = time.perf_counter()
        with running([*_SERVE, "--port"]) as address:
            taken.append(time.perf_counter() - begun_s)
            lines = direct.open(f"{address}/metrics").read().decode().splitlines()
            resident += [float(line.split()[1]) / 1e6 for line in lines if line.startswith("process_resident_memory")]
    return {"ready_s": statistics.median(taken), "resident_mb": statistics.median(resident)}


def imports() -> set[str]:
    """Which of the heavy packages a service that answers has imported."""
    code = (
        "import sys, app.server.process; from app.inference.model import load_model; load_model('sentiment-en'); "
        "print(*{'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())
