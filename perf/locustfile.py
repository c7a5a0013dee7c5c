"""The latency gate: `locust -f perf/locustfile.py`.

Every user asks once a second on average, at moments that are drawn beforehand. One that is kept waiting is late with
its next requests, and their latency counts from the moment at which they were due: a stall cannot hide by keeping
users from asking. With `--headless` the exit status is 1 when p95 of a route is not below `--p95-ms`, when more than
`--max-error-share` of the requests failed, or when fewer were sent than the users should have. A refusal (429) is a
failure; a bad request that is refused as it should be is none.
"""

import json
import math
import random
import time
from itertools import count
from typing import Any

from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from perf.load.feedback import Feedback, Request

ROUTES = ("/predict", "/predict/batch")
_PATIENCE_S = 5
_seeds = count()
_began_s: list[float] = []  # when each of the users did, however long locust took to start them
_asking_s: list[float] = []  # how long each was to ask, once the time is up


@events.init_command_line_parser.add_listener
def _options(parser: LocustArgumentParser, **_: Any) -> None:
    parser.add_argument("--p95-ms", type=float, default=100, help="what p95 of each route has to stay below")
    parser.add_argument("--max-error-share", type=float, default=0.001, help="share of requests that fail, at most")
    # What is under way at the end is waited for, and counts.
    parser.set_defaults(stop_timeout=f"{2 * _PATIENCE_S}s")


class Caller(FastHttpUser):
    """One of many who send feedback."""

    host = "http://127.0.0.1:8000"
    connection_timeout = network_timeout = _PATIENCE_S

    def on_start(self) -> None:
        self._feedback = Feedback(seed=next(_seeds))
        _began_s.append(time.perf_counter())
        self._due_s = _began_s[-1] + random.expovariate(1)
        self.wait()

    def wait_time(self) -> float:
        return max(0, self._due_s - time.perf_counter())

    @task
    def ask(self) -> None:
        request = self._feedback.request()
        body = request.body if isinstance(request.body, bytes) else json.dumps(request.body).encode()
        name = "(bad request)" if request.status != 200 else request.path
        late_ms = max(0, time.perf_counter() - self._due_s) * 1000
        self._due_s += random.expovariate(1)
        with self.client.post(
            request.path, data=body, headers=request.headers, name=name, catch_response=True
        ) as response:
            response.request_meta["response_time"] += late_ms
            if wrong := _wrong(request, response.status_code, response.content):
                response.failure(wrong)
            else:
                response.success()


@events.test_stopping.add_listener
def _time_is_up(**_: Any) -> None:
    _asking_s.extend(time.perf_counter() - began_s for began_s in _began_s)


@events.quitting.add_listener
def _judge(environment: Environment, **_: Any) -> None:
    options, stats = environment.parsed_options, environment.stats
    verdicts = []
    for route in ROUTES:
        entry = stats.get(route, "POST")
        p95_ms = entry.get_response_time_percentile(0.95) if entry.num_requests else math.inf
        # Below: locust keeps two digits, so that 100 may have been 104.
        verdicts.append((p95_ms < options.p95_ms, f"{route}: p95 {p95_ms:.0f} ms, has to be below {options.p95_ms:g}"))
    total = stats.total
    failed = total.num_failures / max(1, total.num_requests)
    verdicts.append((failed <= options.max_error_share, f"failed: {failed:.2%}, limit {options.max_error_share:.2%}"))
    due = sum(_asking_s)
    least = math.floor(0.95 * due - 4 * math.sqrt(due))  # chance alone stays above it
    verdicts.append((total.num_requests >= max(1, least), f"asked: {total.num_requests} of about {due:.0f} requests"))
    environment.process_exit_code = 0 if all(good for good, _ in verdicts) else 1
    # Said at the very end, below locust's tables.
    said = [f"{'pass' if good else 'FAIL'}  {verdict}" for good, verdict in verdicts]
    events.quit.add_listener(lambda **_: print("\n".join(said)))


def _wrong(request: Request, status: int, content: bytes) -> str | None:
    """What is wrong with an answer."""
    if status != request.status:
        return f"{status} instead of {request.status}"
    try:
        answer = json.loads(content)
        if request.kind == "list" and len(answer["predictions"]) != len(request.body["texts"]):
            return "not one prediction a text"
        if request.kind == "single" and answer["label"] not in answer["scores"]:
            return "the label has no score"
    except (ValueError, KeyError, TypeError):
        return "not the JSON of an answer"
    return None
