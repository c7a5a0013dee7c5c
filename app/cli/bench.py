"""`rt-sentiment bench`: a quick look at the speed. `perf/` in the repository has the thorough benchmarks."""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import click

from .console import print_json, print_rich, print_table
from .exits import FAILED, OK, WRONG_USAGE, Failure
from .flags import MODEL_SETTINGS, read_settings, setting_flags
from .sentences import sentences

_LIST_TEXTS = 256


@dataclass(frozen=True, slots=True)
class Figures:
    """One measurement. Latencies are in milliseconds; `list` sends or runs lists of texts, one after the other."""

    what: str
    connections: int
    requests: int
    failed: int
    texts_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@click.command()
@click.option("--url", help="Measure a running server, over HTTP.")
@click.option("--api-key", envvar="RT_SENTIMENT_API_KEY", show_envvar=True, help="Key for the server.")
@click.option("--served-model", metavar="NAME", help="Which model of the server, if not its default one.")
@click.option("--connections", default="1,8,32", show_default=True, metavar="N,…", help="Callers at a time.")
@click.option("--seconds", type=click.FloatRange(0.1, 60), default=3.0, show_default=True, help="Time for each line.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@setting_flags(MODEL_SETTINGS)
def bench(
    *,
    url: str | None,
    api_key: str | None,
    served_model: str | None,
    connections: str,
    seconds: float,
    as_json: bool,
    **flags: Any,
) -> int:
    """Measure how many texts per second the model, or a server, answers, and how long an answer takes.

    Every text is a different made-up sentence of 5 to 45 words, so that no cache helps. Callers wait for each answer
    before they send the next text. Without --url, the model runs in this process: no HTTP, no queue and no batches,
    apart from the last line, which gives it lists. With --url, the client runs on this machine, too, and takes part of
    its time if the server is here.
    """
    try:
        callers = [int(each) for each in connections.split(",")]
    except ValueError:
        callers = [0]
    if min(callers) < 1 or max(callers) > 256:
        raise Failure("--connections: expected numbers from 1 to 256, separated by commas", WRONG_USAGE)
    if served_model is not None and not url:
        raise Failure("--served-model needs --url; for a model in this process, use --model", WRONG_USAGE)
    what, predict, close = _server(url, api_key, served_model) if url else _model(flags)
    texts = sentences()
    try:
        predict(["a first text, so that all is ready"])
        figures = [_measure("single texts", number, lambda: [next(texts)], predict, seconds) for number in callers]
        figures.append(
            _measure(f"lists of {_LIST_TEXTS}", 1, lambda: [next(texts) for _ in range(_LIST_TEXTS)], predict, seconds)
        )
    finally:
        close()
    if as_json:
        print_json({"measured": what, "figures": [asdict(each) for each in figures]})
    else:
        print_rich(f"{what}, {seconds:g} s for each line")
        rows = [
            (
                each.what,
                str(each.connections),
                f"{each.texts_per_s:,.0f}",
                *(f"{value:,.1f}" for value in (each.p50_ms, each.p95_ms, each.p99_ms)),
                str(each.failed),
            )
            for each in figures
        ]
        columns = ("requests", "connections" if url else "callers", "texts/s", "p50 ms", "p95 ms", "p99 ms", "failed")
        print_table(columns, rows, numbers=range(1, 7))
    return FAILED if any(each.failed for each in figures) else OK


# What is measured, a call of it, and what to do at the end.
Subject = tuple[str, Callable[[list[str]], object], Callable[[], None]]


def _model(flags: dict[str, Any]) -> Subject:
    from .scorer import load_scorer

    scorer = load_scorer(read_settings(flags), "truncate")
    return f"{scorer.description['model']} in this process, {scorer.description['backend']}", scorer.score, lambda: None


def _server(url: str, api_key: str | None, model: str | None) -> Subject:
    from .score.remote import Server

    server = Server(url, api_key, give_up_s=0)
    options = {"model": model} if model else {}

    def predict(texts: list[str]) -> None:
        path, body = ("/predict", {"text": texts[0]}) if len(texts) == 1 else ("/predict/batch", {"texts": texts})
        status, answer = server.call("POST", path, body | options)
        if status != 200:
            raise Failure(f"{server.url}: {status} {answer}")

    return f"{model + ' of ' if model else ''}{server.url} over HTTP", predict, server.close


def _measure(
    what: str, callers: int, texts: Callable[[], list[str]], predict: Callable[[list[str]], object], seconds: float
) -> Figures:
    """Run `callers` threads for some seconds."""
    latencies_ms: list[float] = []
    scored, failed = [0] * callers, [0] * callers
    lock = threading.Lock()
    begun_s = time.perf_counter()

    def work(caller: int) -> None:
        while (started_s := time.perf_counter()) < begun_s + seconds:
            with lock:  # a generator serves one thread at a time
                chosen = texts()
            try:
                predict(chosen)
            except Failure:
                failed[caller] += 1
                continue
            latencies_ms.append((time.perf_counter() - started_s) * 1000)
            scored[caller] += len(chosen)

    threads = [threading.Thread(target=work, args=(caller,), daemon=True) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed_s = time.perf_counter() - begun_s
    ordered = sorted(latencies_ms) or [0.0]
    p50, p95, p99 = (round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3) for share in (0.5, 0.95, 0.99))
    return Figures(what, callers, len(latencies_ms), sum(failed), round(sum(scored) / elapsed_s, 1), p50, p95, p99)
