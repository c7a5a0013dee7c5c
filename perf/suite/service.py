"""Measurements of our service only: single texts beside long lists, several processes, start-up and imports."""

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
from perf.load.lists import LIST_SIZE
from perf.load.metrics import scrape
from perf.load.openloop import Phase, offer
from perf.load.server import ROOT, direct, running
from perf.load.texts import of_length, sentences
from perf.load.wrk import run_wrk, write_bodies

_SERVE = [sys.executable, "-m", "app", "serve"]


def beside_lists(seconds: float, per_s: float = 20) -> dict[str, float]:
    """Measure the latency of single texts, first alone, then while one client posts lists one after the other.

    A list has 256 texts of 512 tokens.
    """
    bodies = [json.dumps({"text": text}).encode() for text in sentences(5000)]
    long_list = json.dumps({"texts": of_length(LIST_SIZE, 512)}).encode()
    stop = threading.Event()
    statuses = []

    def post_lists(address: str) -> None:
        headers = {"Content-Type": "application/json", "X-Request-Timeout-Ms": "120000"}
        while not stop.is_set():
            request = urllib.request.Request(f"{address}/predict/batch", long_list, headers)
            with direct.open(request, timeout=300) as response:
                statuses.append(response.status)

    command = [*_SERVE, "--cache-entries", "0", "--request-timeout-ms", "120000", "--port"]
    with running(command) as address:
        figures = {}
        for name in ("before", "beside"):
            if name == "beside":
                sender = threading.Thread(target=post_lists, args=(address,))
                sender.start()
                time.sleep(1)
            sample = offer(address, bodies, [Phase(per_s, seconds)])
            answered = sample.with_status(200)
            figures |= {f"{name}_p50_ms": answered.percentile(50), f"{name}_p99_ms": answered.percentile(99)}
            figures[f"{name}_not_answered"] = len(sample) - len(answered)
        stop.set()
        sender.join()
    if not statuses:
        sys.exit("no list was answered, so the single texts had no lists beside them")
    return figures | {"lists": len(statuses)}


def several_processes(seconds: int, connections: int = 64) -> dict[str, float]:
    """Measure requests/s of one process on all cores, of one worker per core, and of one replica per core."""
    cores = str(usable_cores())
    commands = {
        "one process": [*_SERVE, "--port"],
        "workers": [*_SERVE, "--workers", cores, "--port"],
        "replicas behind nginx": [sys.executable, "-m", "nginx.replicas", "--replicas", cores, "--port"],
    }
    rates = {}
    with tempfile.TemporaryDirectory() as folder:
        bodies = write_bodies(Path(folder) / "bodies", ({"text": text} for text in sentences(30_000)))
        for name, command in commands.items():
            with running(command, environment={"SENTIMENT_CACHE_ENTRIES": "0"}) as address:
                time.sleep(3)  # one process answers already, but the others may still be loading
                run_wrk(address, bodies, connections, 3)  # warm up
                rates[name] = run_wrk(address, bodies, connections, seconds)["rate"]
    return rates


def start(times: int = 5) -> dict[str, float]:
    """Measure the seconds from the command to the first response, and the resident memory at that time."""
    ready_s, resident_mb = [], []
    for _ in range(times):
        started_s = time.perf_counter()
        with running([*_SERVE, "--port"]) as address:
            ready_s.append(time.perf_counter() - started_s)
            resident_mb.append(scrape(address)["process_resident_memory_bytes"] / 1e6)
    return {"ready_s": statistics.median(ready_s), "resident_mb": statistics.median(resident_mb)}


def heavy_imports() -> list[str]:
    """Which heavy packages a process has imported once it can serve the model."""
    code = (
        "import sys, app.server.process; from app.inference.model import load_model; load_model('sentiment-en'); "
        "print(*{'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(done.stdout.split())
