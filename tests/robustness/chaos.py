"""Faults from outside, against real servers: `make chaos`, `python -m tests.robustness.chaos --rounds 100`.

Each fault is brought about while well-behaved callers ask on. It prints what they saw, whether anything was lost, and
how long it took until all was as before. `tests/integration/test_chaos.py` runs each once.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.process import Server, serve
from tests.support.replicas import Replicas, load, running
from training.evaluation import aligned


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a fault. `lost` are requests of well-behaved callers without the right answer."""

    fault: str
    asked: int
    lost: int
    answers: dict[str, int]
    recovered_s: float | None  # from the fault until a request was answered rightly again, where it was not


FAULTS: dict[str, Callable[[], Outcome]] = {}


def fault(run: Callable[[], Outcome]) -> Callable[[], Outcome]:
    """Register a fault by the name of its function."""
    FAULTS[run.__name__.replace("_", " ")] = run
    return run


def _outcome(name: str, answers: Counter[str], allowed: set[str], recovered_s: float | None = None) -> Outcome:
    lost = sum(count for answer, count in answers.items() if answer not in {"right"} | allowed)
    return Outcome(name, sum(answers.values()), lost, dict(answers), recovered_s)


def _is_right(address: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        response = httpx.post(f"{address}/predict", json={"text": f"a good day {random.random()}"}, trust_env=False)
        return response.status_code == 200 and response.json()["label"] == "positive"
    return False


def _recovery(address: str, timeout_s: float = 40) -> float:
    """Seconds until a request is answered rightly."""
    begun_s = time.monotonic()
    while not _is_right(address):
        assert time.monotonic() - begun_s < timeout_s, "it did not recover"
        time.sleep(0.02)
    return round(time.monotonic() - begun_s, 2)


# Replicas behind nginx


def _on_replicas(name: str, act: Callable[[Replicas], None], *allowed: str, **settings: str) -> Outcome:
    with running(**settings) as replicas:
        return _outcome(name, asyncio.run(load(replicas.address, lambda: act(replicas))), set(allowed))


def _signalled(number: signal.Signals) -> Callable[[Replicas], None]:
    def act(replicas: Replicas) -> None:
        victim = random.choice(replicas.processes())
        time.sleep(0.5)
        os.kill(victim, number)
        replicas.wait_until(lambda: victim not in replicas.processes() and replicas.all_ready())
        time.sleep(0.5)

    return act


@fault
def a_replica_is_killed() -> Outcome:
    return _on_replicas("a replica is killed (SIGKILL)", _signalled(signal.SIGKILL))


@fault
def a_replica_freezes() -> Outcome:
    return _on_replicas("a replica freezes (SIGSTOP)", _signalled(signal.SIGSTOP))


@fault
def a_replica_is_told_to_end() -> Outcome:
    return _on_replicas("a replica is told to end (SIGTERM)", _signalled(signal.SIGTERM))


@fault
def all_replicas_restart() -> Outcome:
    def act(replicas: Replicas) -> None:
        replicas.process.send_signal(signal.SIGHUP)
        replicas.wait_until(lambda: replicas.lines(event="all workers restarted"))

    return _on_replicas("all replicas restart, in turn (SIGHUP)", act)


@fault
def a_text_hangs_the_model() -> Outcome:
    def act(replicas: Replicas) -> None:
        httpx.post(f"{replicas.address}/predict", json={"text": "[hang]"}, timeout=30)
        replicas.wait_until(lambda: replicas.lines(event="worker ended", status=1) and replicas.all_ready())

    # Whoever shared the hanging replica's slots is answered 500.
    return _on_replicas("a text hangs the model", act, "wrong: 500", backend="mock", backend_timeout_ms="1000")


# One process


async def _asking(address: str, during: Callable[[], Any]) -> Counter[str]:
    """Ask from four connections until `during` has returned."""
    answers: Counter[str] = Counter()
    over = asyncio.Event()

    async def ask(http: httpx.AsyncClient) -> None:
        while not over.is_set():
            label, word = random.choice([("positive", "good"), ("negative", "bad"), ("neutral", "some")])
            try:
                found = await http.post("/predict", json={"text": f"{word} {random.random()}"})
            except httpx.HTTPError as error:
                answers[type(error).__name__] += 1
            else:
                right = found.status_code == 200 and found.json()["label"] == label
                answers["right" if right else f"{found.status_code}"] += 1

    limits = httpx.Limits(max_connections=4)
    async with httpx.AsyncClient(base_url=address, timeout=30, limits=limits) as http, asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(ask(http))
        try:
            await asyncio.to_thread(during)
        finally:
            over.set()
    return answers


def _on_one(name: str, act: Callable[[Server], None], *allowed: str, prelude: str = "", **settings: str) -> Outcome:
    with serve(backend="mock", prelude=prelude, **settings) as server:
        answers = asyncio.run(_asking(server.address, lambda: act(server)))
        recovered_s = _recovery(server.address)
        assert server.process.poll() is None
        assert not server.events("unexpected error"), server.events("unexpected error")
        return _outcome(name, answers, set(allowed), recovered_s)


def _post(server: Server, **body: object) -> None:
    httpx.post(f"{server.address}/predict", json=body, timeout=30)


@contextlib.contextmanager
def _raw(server: Server) -> Iterator[socket.socket]:
    host, _, port = server.address.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        yield connection


@fault
def the_model_raises_on_texts() -> Outcome:
    def act(server: Server) -> None:
        for number in range(50):
            _post(server, text=f"[fail] {number}")

    return _on_one("the model raises on texts", act)


@fault
def the_model_says_nan_to_texts() -> Outcome:
    def act(server: Server) -> None:
        for number in range(50):
            _post(server, text=f"[nan] {number}")

    return _on_one("the model says NaN to texts", act)


@fault
def the_device_is_lost_for_a_while() -> Outcome:
    def act(server: Server) -> None:
        _post(server, text="[break]")
        server.wait_for("model recovered", timeout_s=30)

    return _on_one("the device is lost for three seconds", act, "500", "503")


@fault
def clients_send_slowly() -> Outcome:
    def act(server: Server) -> None:
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(_raw(server)) for _ in range(200)]
            begun_s = time.monotonic()
            while time.monotonic() - begun_s < 3:
                for connection in slow:
                    with contextlib.suppress(OSError):
                        connection.send(b"P")
                time.sleep(0.1)

    return _on_one("200 clients send their headers byte by byte", act, header_timeout_s="1")


@fault
def clients_send_anything() -> Outcome:
    noise = random.Random(7)
    pieces = [
        b"POST /predict HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n", b"Host: a\r\n", b"Content-Length: 12\r\n", b"\r\n",
        b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Type: application/json\r\n",
        b"Content-Encoding: gzip\r\n", b"Expect: 100-continue\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
        b"5\r\nhello\r\n", b"0\r\n\r\n", b'{"text":"good"}', b"\x00\xff\xfe", b"\n", b" ", b"A" * 9000,
        b"FFFFFFFFFFFF\r\n",
    ]  # fmt: skip

    def act(server: Server) -> None:
        for _ in range(500):
            with contextlib.suppress(OSError), _raw(server) as connection:
                connection.settimeout(0.02)
                connection.sendall(b"".join(noise.choices(pieces, k=noise.randint(1, 12))))
                connection.recv(65536)
                if noise.random() < 0.5:  # half of them leave without a word, the others with a reset
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    return _on_one("500 clients send bits of HTTP at random", act)


@fault
def clients_leave() -> Outcome:
    body = json.dumps({"texts": [f"[slow] {number}" for number in range(20)]}).encode()
    head = b"POST /predict/batch HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"

    def act(server: Server) -> None:
        for _ in range(100):
            with _raw(server) as connection:
                connection.sendall(head % len(body) + body)
                time.sleep(0.01)

    return _on_one("100 clients leave before their answer", act)


@fault
def the_clock_jumps() -> Outcome:
    prelude = (
        "import itertools, time\nreal, jumps = time.time, itertools.cycle([0, 86400, -86400 * 365])\n"
        "time.time = lambda: real() + next(jumps)"
    )
    return _on_one("the clock jumps by days", lambda _: time.sleep(2), prelude=prelude)


@fault
def the_disk_is_full() -> Outcome:
    prelude = "import os\nos.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
    full = "import logging, app.server.draining\nready = app.server.draining.DrainingServer._on_ready\n"
    full += "def on_ready(self):\n    ready(self)\n    logging.root.handlers[0].setStream(open('/dev/full', 'w'))\n"
    full += "app.server.draining.DrainingServer._on_ready = on_ready"
    return _on_one("the log's disk is full", lambda _: time.sleep(2), prelude=f"{prelude}\n{full}")


@fault
def the_keys_are_broken() -> Outcome:
    import tempfile

    from app.access.keys import add_key

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "keys.yaml"
        key = add_key(file, "web")
        with serve(backend="mock", api_keys_file=str(file)) as server:

            def ask() -> str:
                found = httpx.post(f"{server.address}/predict", json={"text": "good"}, headers={"X-API-Key": key})
                return "right" if found.status_code == 200 else str(found.status_code)

            answers = Counter([ask()])
            file.write_text("{")
            server.wait_for("keys not loaded, old keys stay valid")
            answers.update(ask() for _ in range(20))
        return _outcome("the file of keys is broken", answers, set())


def main() -> None:
    """Bring about every fault, as often as asked; exit with 1 when anything was lost."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="how often (%(default)s)")
    parser.add_argument("--only", metavar="WORDS", default="", help="faults whose names have these words")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all outcomes there")
    args = parser.parse_args()
    outcomes = []
    for number in range(args.rounds):
        rows = [("fault", "asked", "lost", "again after, s", "answers")]
        for name, run in FAULTS.items():
            if args.only in name:
                print(f"round {number + 1}: {name}", file=sys.stderr)
                found = run()
                outcomes.append(found)
                shown = "" if found.recovered_s is None else f"{found.recovered_s:.2f}"
                seen = ", ".join(f"{count} {answer}" for answer, count in found.answers.items())
                rows.append((found.fault, f"{found.asked}", f"{found.lost}", shown, seen))
        print(aligned(rows, {0, 4}))
    if args.json:
        args.json.write_text(json.dumps([asdict(each) for each in outcomes], indent=1) + "\n")
    if lost := sum(found.lost for found in outcomes):
        sys.exit(f"{lost} requests were lost")


if __name__ == "__main__":
    main()
