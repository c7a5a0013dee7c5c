"""Runs the command of `make replicas` in a separate process, and sends load to it."""

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.support.process import PATIENT, ROOT, clean_environment
from tests.support.waiting import HANG_S, until

# Clear labels, whatever the order number is.
LABELS = {"Order {}: I love it, a wonderful present.": "positive", "Order {}: this is awful, I hate it.": "negative"}

# nginx waits for a slow replica, and may retry, for as long as a test lasts.
_PATIENT_NGINX = f"""
import re
import nginx.replicas
from nginx.replicas import configure, main
def patiently(*args):
    folder = configure(*args)
    file = folder / "http.conf"
    file.write_text(re.sub(r"(?m)^((?:client|proxy|send)_\\w*timeout) \\w+;", r"\\1 {HANG_S:.0f}s;", file.read_text()))
    return folder
nginx.replicas.configure = patiently
"""


class Replicas:
    """The process of `make replicas` and its log, with the lines of the supervisor, the replicas and nginx."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self.log = log
        self.address = ""

    def lines(self, **fields: Any) -> list[dict[str, Any]]:
        text = self.log.read_text()
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines() if line.startswith("{")]
        return [line for line in lines if fields.items() <= line.items()]

    def printed(self, pattern: str) -> list[str]:
        """The matches of a pattern in the lines that the command prints for people."""
        return re.findall(rf"^replicas: .*{pattern}", self.log.read_text(), flags=re.MULTILINE)

    def replicas(self) -> list[str]:
        """The addresses of the replicas, behind nginx."""
        return self.printed(r"(http://127\.0\.0\.1:\d+) \(process \d+\)$")[:2]

    def wait_until(self, condition: Callable[[], Any]) -> None:
        def holds() -> Any:
            assert self.process.poll() is None, self.log.read_text()
            return condition()

        until(holds, interval_s=0.05, on_timeout=self.log.read_text)

    def wait_for_requests(self, count: int = 100) -> None:
        """Wait until nginx and the replicas have logged so many more predictions."""

        def answered() -> int:
            return len(self.lines(status=200, path="/predict"))

        before = answered()
        self.wait_until(lambda: answered() >= before + count)

    def processes(self) -> list[int]:
        """The current process ids of the replicas."""
        return [pid for pid in self.children() if b"--multiprocessing-fork" in _command(pid)]

    def children(self) -> list[int]:
        file = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in file.read_text().split()]

    def all_ready(self) -> bool:
        return all(_status(f"{address}/readyz") == 200 for address in self.replicas())


@contextlib.contextmanager
def running(
    *flags: str, ends_with: int | None = 0, prelude: str = "", frozen_s: float = HANG_S, **settings: str
) -> Iterator[Replicas]:
    """Start replicas and nginx, and end them with SIGTERM. `ends_with` is the expected exit status, None for any.

    `prelude` is Python code that the command runs first. A replica that is silent for `frozen_s` is replaced.
    """
    code = f"{_PATIENT_NGINX}\nimport app.server.worker\napp.server.worker._FROZEN_S = {frozen_s}\n{prelude}\nmain()"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as stream:
            command = [sys.executable, "-c", code, "--port", "0", *flags]
            process = subprocess.Popen(
                command, cwd=ROOT, env=clean_environment(**PATIENT | settings), stdout=stream, stderr=stream
            )
        replicas = Replicas(process, log)
        try:
            replicas.wait_until(lambda: replicas.printed("ready: "))
            replicas.address = replicas.printed(r"ready: (\S+)")[0]
            yield replicas
        finally:
            process.terminate()
            assert process.wait(HANG_S) == ends_with or ends_with is None, log.read_text()


# Between two requests of a connection: otherwise the load would take a whole core from whatever is tested.
_PAUSE_S = 0.05


async def load(
    address: str, during: Callable[[], Any], connections: int = 8, pause_s: float = _PAUSE_S
) -> Counter[str]:
    """Send requests while `during` runs in a thread; count the outcomes."""
    outcomes: Counter[str] = Counter()
    finished = asyncio.Event()

    async def send(http: httpx.AsyncClient, number: int) -> None:
        text, label = list(LABELS.items())[number % 2]
        count = 0
        while not finished.is_set():
            count += 1
            try:
                response = await http.post("/predict", json={"text": text.format(f"{number}.{count}")})
            except httpx.HTTPError as error:
                outcomes[type(error).__name__] += 1
            else:
                correct = response.status_code == 200 and response.json()["label"] == label
                outcomes["right" if correct else f"wrong: {response.status_code}"] += 1
            await asyncio.sleep(pause_s)

    async with httpx.AsyncClient(base_url=address, timeout=HANG_S) as http, asyncio.TaskGroup() as tasks:
        for number in range(connections):
            tasks.create_task(send(http, number))
        try:
            await asyncio.to_thread(during)
        finally:
            finished.set()
    return outcomes


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # the process has just ended
        return b""


def _status(url: str) -> int:
    try:
        return httpx.get(url, trust_env=False, timeout=HANG_S).status_code
    except httpx.HTTPError:
        return 0
