"""`python -m perf.profile.tracing`: what traces cost: none, 1 % and all requests sampled, in turns.

One load is of unique texts, which the model scores, and one of repeated texts, which come from the cache and so show
most of what traces add. A ratio is the median over rounds of a figure divided by that without traces in the same round;
`off, again` is a second service without traces, and shows how exact the ratios are. Two processes of the same service
differ by some percent for as long as they run, so all services are started several times. The figures are requests per
second and, for a machine that does other things as well, requests per second of processor time of the service. A
collector on this machine takes the spans and drops them, so that its processor time counts in the first.
"""

import argparse
import importlib.util
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from perf.load.metrics import scrape
from perf.load.server import running
from perf.load.texts import sentences
from perf.load.wrk import require_wrk, run_wrk, write_bodies

# No request is refused or given up, however busy the machine is: refusals would be another load.
_OFF = {"SENTIMENT_MAX_WAIT_MS": "600000", "SENTIMENT_REQUEST_TIMEOUT_MS": "600000"}
_ON = _OFF | {"SENTIMENT_TRACING": "on"}
_SAMPLED = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
_SIDES: dict[str, Mapping[str, str]] = {"off": _OFF, "off, again": _OFF, "1 %": _ON | _SAMPLED, "all": _ON}
_LOADS = ("unique texts", "from the cache")
_CONNECTIONS = 32
_CACHED_TEXTS = 100


class _Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def _collector() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Collector)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def _measure(loads: Sequence[str], seconds: int, rounds: int, starts: int) -> None:
    texts = sentences(60_000)
    with tempfile.TemporaryDirectory() as folder, _collector() as collector:
        files = {
            "unique texts": write_bodies(Path(folder) / "unique", ({"text": text} for text in texts)),
            "from the cache": write_bodies(Path(folder) / "few", ({"text": text} for text in texts[:_CACHED_TEXTS])),
        }
        print(f"{'':36}{'off, 1/s':>12}" + "".join(f"{side:>12}" for side in list(_SIDES)[1:]))
        for load in loads:
            command = [sys.executable, "-m", "app", "serve"]
            command += ["--cache-entries", "0" if load == "unique texts" else "10000", "--port"]
            figures: dict[str, list[tuple[float, float]]] = {side: [] for side in _SIDES}
            for start in range(starts):
                turns = range(start, start + rounds)
                for side, rates in _start_and_load(command, collector, files[load], seconds, turns):
                    figures[side].append(rates)
            for place, name in enumerate(("requests/s", "requests/s of processor")):
                row = f"{f'{load}, {name}':40}"
                print(_row(row, {side: [each[place] for each in figures[side]] for side in _SIDES}), flush=True)


def _start_and_load(
    command: Sequence[str], collector: str, bodies: Path, seconds: int, turns: Iterable[int]
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Start all sides, and return the rates of each in each turn; every other turn goes through them backwards."""
    with ExitStack() as stack:
        servers = {
            side: stack.enter_context(
                running(command, environment={**settings, "OTEL_EXPORTER_OTLP_ENDPOINT": collector})
            )
            for side, settings in _SIDES.items()
        }
        for address in servers.values():  # warm up, and fill the caches
            run_wrk(address, bodies, _CONNECTIONS, seconds)
        for turn in turns:
            for side in [*_SIDES][:: -1 if turn % 2 else 1]:
                yield side, _rates(servers[side], bodies, seconds)


def _rates(address: str, bodies: Path, seconds: int) -> tuple[float, float]:
    before_s = scrape(address)["process_cpu_seconds_total"]
    load = run_wrk(address, bodies, _CONNECTIONS, seconds)
    spent_s = scrape(address)["process_cpu_seconds_total"] - before_s
    return load["rate"], load["rate"] * load["seconds"] / spent_s


def _row(name: str, rates: Mapping[str, Sequence[float]]) -> str:
    ratios = [
        statistics.median(own / off for own, off in zip(rates[side], rates["off"], strict=True))
        for side in [*_SIDES][1:]
    ]
    return f"{name}{statistics.median(rates['off']):8.0f}" + "".join(f"{ratio:12.3f}" for ratio in ratios)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.profile.tracing", description=__doc__)
    parser.add_argument("--loads", nargs="+", choices=_LOADS, default=[*_LOADS])
    parser.add_argument("--starts", type=int, default=5, help="how often the services are started (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns after each start (%(default)s)")
    parser.add_argument("--seconds", type=int, default=3, help="duration of each load (%(default)s)")
    args = parser.parse_args()
    require_wrk()
    if importlib.util.find_spec("opentelemetry.sdk") is None:
        sys.exit("traces need an extra: pip install 'rt-sentiment[tracing]'")
    _measure(args.loads, args.seconds, args.rounds, args.starts)


if __name__ == "__main__":
    main()
