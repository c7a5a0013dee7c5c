"""The latency gate: `locust -f perf/locustfile.py`.

Every user asks once a second on average, at random moments. With `--headless` the exit status is 1 when p95 of a route
exceeds `--p95-ms`, when more than `--max-error-share` of the requests failed, or when a route was never asked. A
refusal (429) is a failure; a bad request that is refused as it should be is none.
"""

import json
import random
from itertools import count
from typing import Any

from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from perf.feedback import Feedback, Request

ROUTES = ("/predict", "/predict/batch")
_seeds = count()


@events.init_command_line_parser.add_listener
def _options(parser: LocustArgumentParser, **_: Any) -> None:
    parser.add_argument("--p95-ms", type=float, default=100, help="p95 of each route, at most")
    parser.add_argument("--max-error-share", type=float, default=0.001, help="share of requests that fail, at most")


class Caller(FastHttpUser):
    """One of many who send feedback."""

    host = "http://127.0.0.1:8000"

    def on_start(self) -> None:
        self._feedback = Feedback(seed=next(_seeds))
        self.wait()  # or all would begin at once

    def wait_time(self) -> float:
        return random.expovariate(1)

    @task
    def ask(self) -> None:
        request = self._feedback.request()
        body = request.body if isinstance(request.body, bytes) else json.dumps(request.body).encode()
        name = "(bad request)" if request.status != 200 else request.path
        with self.client.post(
            request.path, data=body, headers=request.headers, name=name, catch_response=True
        ) as response:
            if wrong := _wrong(request, response.status_code, response.content):
                response.failure(wrong)
            else:
                response.success()


@events.quitting.add_listener
def _judge(environment: Environment, **_: Any) -> None:
    options, stats = environment.parsed_options, environment.stats
    verdicts = []
    for route in ROUTES:
        entry = stats.get(route, "POST")
        p95_ms = entry.get_response_time_percentile(0.95) if entry.num_requests else None
        shown = "never asked" if p95_ms is None else f"p95 {p95_ms:.0f} ms, limit {options.p95_ms:.0f} ms"
        verdicts.append((p95_ms is not None and p95_ms <= options.p95_ms, f"{route}: {shown}"))
    failed = stats.total.num_failures / max(1, stats.total.num_requests)
    verdicts.append((failed <= options.max_error_share, f"failed: {failed:.2%}, limit {options.max_error_share:.2%}"))
    for good, verdict in verdicts:
        print(f"{'pass' if good else 'FAIL'}  {verdict}")
    environment.process_exit_code = 0 if all(good for good, _ in verdicts) else 1


def _wrong(request: Request, status: int, content: bytes) -> str | None:
    """What is wrong with an answer."""
    if status != request.status:
        return f"{status} instead of {request.status}"
    if request.kind == "list" and len(json.loads(content)["predictions"]) != len(request.body["texts"]):
        return "not one prediction a text"
    if request.kind == "single" and "label" not in json.loads(content):
        return "no label"
    return None
