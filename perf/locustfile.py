"""The load and the checks of the latency gate: `locust -f perf/locustfile.py`.

Each user sends one request per second on average, at random times that are drawn in advance. While a user waits for a
response, its next requests become late, and their latency counts from the time they were due. So a stall shows in the
latency, although users wait for their responses.

With `--headless`, locust exits with status 1 if p95 of a route is not below `--p95-ms`, if more than
`--max-error-share` of the requests failed, or if the users sent fewer requests than they should have. A refusal (429)
counts as a failure. A bad request that gets its expected error does not.
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
_TIMEOUT_S = 5
_seeds = count()
_started_s: list[float] = []  # start time of each user; locust may take a while to start them all
_active_s: list[float] = []  # how long each user was to send requests, filled in at the end of the test


@events.init_command_line_parser.add_listener
def _add_options(parser: LocustArgumentParser, **_: Any) -> None:
    parser.add_argument("--p95-ms", type=float, default=100, help="p95 latency of each route has to be below this")
    parser.add_argument("--max-error-share", type=float, default=0.001, help="maximum share of failed requests")
    # Requests in flight at the end are awaited, and count.
    parser.set_defaults(stop_timeout=f"{2 * _TIMEOUT_S}s")


class FeedbackUser(FastHttpUser):
    """One of many users who send feedback."""

    host = "http://127.0.0.1:8000"
    connection_timeout = network_timeout = _TIMEOUT_S

    def on_start(self) -> None:
        self._feedback = Feedback(seed=next(_seeds))
        _started_s.append(time.perf_counter())
        self._due_s = _started_s[-1] + random.expovariate(1)
        self.wait()

    def wait_time(self) -> float:
        return max(0, self._due_s - time.perf_counter())

    @task
    def send(self) -> None:
        request = self._feedback.request()
        body = request.body if isinstance(request.body, bytes) else json.dumps(request.body).encode()
        name = "(bad request)" if request.status != 200 else request.path
        late_ms = max(0, time.perf_counter() - self._due_s) * 1000
        self._due_s += random.expovariate(1)
        with self.client.post(
            request.path, data=body, headers=request.headers, name=name, catch_response=True
        ) as response:
            response.request_meta["response_time"] += late_ms
            if error := _check_response(request, response.status_code, response.content):
                response.failure(error)
            else:
                response.success()


@events.test_stopping.add_listener
def _record_durations(**_: Any) -> None:
    _active_s.extend(time.perf_counter() - started_s for started_s in _started_s)


@events.quitting.add_listener
def _set_exit_code(environment: Environment, **_: Any) -> None:
    options, stats = environment.parsed_options, environment.stats
    checks = []
    for route in ROUTES:
        entry = stats.get(route, "POST")
        p95_ms = entry.get_response_time_percentile(0.95) if entry.num_requests else math.inf
        # Strictly below: locust rounds to two digits, so 100 may stand for 104.
        checks.append((p95_ms < options.p95_ms, f"{route}: p95 {p95_ms:.0f} ms, limit: below {options.p95_ms:g} ms"))
    total = stats.total
    failed = total.num_failures / max(1, total.num_requests)
    checks.append((failed <= options.max_error_share, f"failed: {failed:.2%}, limit {options.max_error_share:.2%}"))
    expected = sum(_active_s)
    minimum = math.floor(0.95 * expected - 4 * math.sqrt(expected))  # chance alone does not go below this
    sent = total.num_requests
    checks.append((sent >= max(1, minimum), f"sent: {sent} requests, about {expected:.0f} expected"))
    environment.process_exit_code = 0 if all(passed for passed, _ in checks) else 1
    # Printed last, below locust's own tables.
    lines = [f"{'pass' if passed else 'FAIL'}  {line}" for passed, line in checks]
    events.quit.add_listener(lambda **_: print("\n".join(lines)))


def _check_response(request: Request, status: int, content: bytes) -> str | None:
    """Return what is wrong with a response, or nothing."""
    if status != request.status:
        return f"status {status} instead of {request.status}"
    try:
        answer = json.loads(content)
        if request.kind == "list" and len(answer["predictions"]) != len(request.body["texts"]):
            return "the number of predictions differs from the number of texts"
        if request.kind == "single" and answer["label"] not in answer["scores"]:
            return "the label has no score"
    except (ValueError, KeyError, TypeError):
        return "the body is not a prediction"
    return None
