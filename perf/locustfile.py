"""The load and the checks of the latency gate: `locust -f perf/locustfile.py`.

Each user sends one request per second on average, at random times that are drawn in advance. While a user waits for a
response, its next requests become late, and their latency counts from the time they were due. So a stall shows in the
latency, although users wait for their responses.

At the end, locust prints a verdict and exits with status 1 if p95 of a route is not below `--p95-ms`, if a route got no
request, if more than `--max-error-share` of the requests failed, or if the users sent fewer requests than they should
have. A refusal (429) counts as a failure. A bad request that gets its expected error does not. The verdict is about all
users: with `--processes` or `--worker`, the workers send what they measured to the master.
"""

import json
import random
import sys
import time
from itertools import count
from typing import Any

import gevent
from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner

from perf.load.feedback import LONGEST_LIST, Feedback, Request
from perf.load.flags import base_url, list_length, positive, share
from perf.load.record import Check, Record, checks

ROUTES = ("/predict", "/predict/batch")
_TIMEOUT_S = 5
_RESULT_TIMEOUT_S = 60  # for a worker whose users have all stopped
_MAX_WORKERS = 10_000


@events.init_command_line_parser.add_listener
def _add_options(parser: LocustArgumentParser, **_: Any) -> None:
    parser.add_argument("--p95-ms", type=positive, default=100.0, help="p95 latency of each route has to be below this")
    parser.add_argument("--longest-list", type=list_length, default=LONGEST_LIST, help="maximum texts of a list")
    parser.add_argument("--max-error-share", type=share, default=0.001, help="maximum share of failed requests")
    # Requests in flight at the end are awaited, and count.
    parser.set_defaults(stop_timeout=f"{2 * _TIMEOUT_S}s")


class FeedbackUser(FastHttpUser):
    """One of many users who send feedback."""

    host = "http://127.0.0.1:8000"
    connection_timeout = network_timeout = _TIMEOUT_S

    def on_start(self) -> None:
        self.client.base_url = self.client.base_url.rstrip("/")  # of a host from the web interface
        self._feedback = Feedback(_gate.next_seed(), self.environment.parsed_options.longest_list)
        self._started_s = time.perf_counter()
        _gate.users.add(self)
        self._due_s = self._started_s + random.expovariate(1)
        self.wait()

    def on_stop(self) -> None:
        if self in _gate.users:
            _gate.users.remove(self)
            _gate.record.expected += time.perf_counter() - self._started_s

    def wait_time(self) -> float:
        return max(0, self._due_s - time.perf_counter())

    @task
    def send(self) -> None:
        request = self._feedback.request()
        body = request.body if isinstance(request.body, bytes) else json.dumps(request.body).encode()
        name = "(bad request)" if request.status != 200 else request.path
        started_s = time.perf_counter()
        late_ms = max(0, started_s - self._due_s) * 1000
        self._due_s += random.expovariate(1)
        _gate.record.sent[name] += 1
        try:
            with self.client.post(
                request.path, data=body, headers=request.headers, name=name, catch_response=True
            ) as response:
                response.request_meta["response_time"] += late_ms
                if error := _check_response(request, response.status_code, response.content):
                    response.failure(error)
                else:
                    _gate.record.latencies_ms[name].append(response.request_meta["response_time"])
                    response.success()
        except gevent.GreenletExit:  # locust stops a user that was waiting, and has just begun to send
            if time.perf_counter() - started_s < _TIMEOUT_S:
                _gate.record.sent[name] -= 1
            raise


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


class Gate:
    """What the users of a test measured: those of this process and, once the test ends, those of its workers."""

    def __init__(self) -> None:
        self._runner: Any = None
        self._seeds = count()
        self.begin()

    def begin(self) -> None:
        """Forget an earlier test."""
        self.record = Record()
        self.users: set[FeedbackUser] = set()
        self._result_sent = False
        # Ids of the workers whose results are missing.
        self._missing = {client.id for client in self._runner.clients.all} if self._is_master else set[str]()

    @property
    def _is_master(self) -> bool:
        return isinstance(self._runner, MasterRunner)

    def attach(self, runner: Any) -> None:
        """Let a master ask its workers for their results."""
        self._runner = runner
        Feedback(seed=0)  # prepares the texts, which would take the first user a while
        if self._is_master:
            runner.register_message("result", lambda msg, **_: self._receive(msg.node_id, msg.data))
        elif isinstance(runner, WorkerRunner):
            runner.register_message("finish", lambda **_: self.send_result())
            # Before the listener of the runner, which disconnects: the last one that is added is called first.
            runner.environment.events.quitting.add_listener(lambda **_: self.send_result())

    def next_seed(self) -> int:
        """Return a number that no other user has, in any process."""
        return next(self._seeds) * _MAX_WORKERS + getattr(self._runner, "worker_index", 0)

    def end(self) -> None:
        """Stop the clock of all users. A master waits for the results of its workers, as locust may not."""
        for user in list(self.users):
            user.on_stop()
        if self._is_master:
            self._runner.send_message("finish")
            with gevent.Timeout(self._runner.environment.stop_timeout + _RESULT_TIMEOUT_S, False):
                while self._missing & {
                    client.id for client in self._runner.clients.all if client.state != STATE_MISSING
                }:
                    gevent.sleep(0.05)

    def send_result(self) -> None:
        """Stop the users of this worker, and send what they measured to the master, once."""
        if not self._result_sent:
            self._result_sent = True
            self._runner.stop()
            self._runner.send_message("result", self.record.as_message())

    def _receive(self, worker: str, result: dict[str, Any]) -> None:
        self._missing.discard(worker)
        self.record.add(Record(**result))

    def verdict(self, options: Any) -> list[Check]:
        """Judge the test."""
        judged = checks(self.record, ROUTES, p95_ms=options.p95_ms, max_error_share=options.max_error_share)
        if self._missing:
            judged.append(Check(False, f"workers: {len(self._missing)} did not send their results"))
        return judged


_gate = Gate()


@events.init.add_listener
def _attach(environment: Environment, runner: Any, **_: Any) -> None:
    try:
        base_url(environment.host or FeedbackUser.host)
    except ValueError as error:
        sys.exit(f"locust: error: argument -H/--host: {error}")
    _gate.attach(runner)


@events.test_start.add_listener
def _begin(**_: Any) -> None:
    _gate.begin()


@events.test_stopping.add_listener
def _end(**_: Any) -> None:
    _gate.end()


@events.quitting.add_listener
def _set_exit_code(environment: Environment, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        return
    environment.runner.stop()  # it still runs after Ctrl-C
    verdict = _gate.verdict(environment.parsed_options)
    environment.process_exit_code = 0 if all(check.passed for check in verdict) else 1
    # Printed last, below locust's own tables.
    events.quit.add_listener(lambda **_: print(*verdict, sep="\n"))
