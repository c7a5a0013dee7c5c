"""A server in a process of its own, with one slot, to be measured from outside."""

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...config import PREFIX, Settings
from ..exits import Failure
from ..flags import MODEL_SETTINGS

_PATIENCE_S = 120.0
_POLL_S = 0.05
# What decides how a batch runs, and what a request costs. Other settings, such as keys, would be in the way.
_PASSED_ON = (*MODEL_SETTINGS, "models_file", "max_batch_size", "max_batch_tokens", "mock_delay_ms")
_FIXED = {"host": "127.0.0.1", "port": "0", "workers": "1", "slots": "1", "log_format": "json", "log_level": "info"}
_PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Timing:
    """What the server says about a request, and what the client sees, in milliseconds."""

    infer_ms: float
    total_ms: float
    wall_ms: float


class Server:
    """A client with one connection, and the counters of the process."""

    def __init__(self, address: str, pid: int) -> None:
        self._connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=_PATIENCE_S)
        self._pid = pid

    def post(self, path: str, body: Mapping[str, object]) -> Timing:
        """Send a request. Raises `Failure` if it is not answered with 200."""
        content = json.dumps(body).encode()
        begun_s = time.perf_counter()
        self._connection.request("POST", path, content, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read()
        wall_ms = (time.perf_counter() - begun_s) * 1000
        if response.status != 200:
            raise Failure(f"the server that is measured answers {response.status}: {answer.decode(errors='replace')}")
        timings = dict(re.findall(r"(\w+);dur=([\d.]+)", response.headers["Server-Timing"]))
        return Timing(float(timings["infer"]), float(timings["total"]), wall_ms)

    def metric(self, name: str) -> float:
        """Return a series without labels."""
        self._connection.request("GET", "/metrics")
        text = self._connection.getresponse().read().decode()
        match = re.search(rf"^{name} (\S+)$", text, flags=re.MULTILINE)
        if match is None:
            raise Failure(f"the server that is measured has no metric {name}; give --cost and the other figures")
        return float(match[1])

    def event_loop_ms(self) -> float:
        """Return the processor time of the event loop, which runs in the main thread."""
        try:
            nanoseconds = Path(f"/proc/{self._pid}/task/{self._pid}/schedstat").read_text().split()[0]
        except OSError:
            raise Failure("this system does not tell the processor time of a thread; give --cost") from None
        return int(nanoseconds) / 1e6

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[Server]:
    """Start a server with the model of these settings, and end it. Raises `Failure` if it does not get ready."""
    values = {name: str(getattr(settings, name)) for name in _PASSED_ON if name in settings.model_fields_set} | _FIXED
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX) and name != "PORT"}
    environment |= {f"{PREFIX}{name.upper()}": value for name, value in values.items()}
    # In a clone, the package is found from its parent folder.
    parent = Path(__file__).parents[3]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(parent), environment.get("PYTHONPATH", ""))))
    with tempfile.NamedTemporaryFile("w+b") as log:
        command = [sys.executable, "-m", _PACKAGE, "serve"]
        with subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:  # noqa: S603 - this program
            try:
                server = Server(_address(process, Path(log.name)), process.pid)
                try:
                    yield server
                finally:
                    server.close()
            finally:
                process.terminate()
                try:
                    process.wait(_PATIENCE_S)
                except subprocess.TimeoutExpired:
                    process.kill()


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        ended = process.poll()  # before the log is read, or its last lines could be missed
        text = log.read_text(errors="replace")
        for line in text[: text.rfind("\n") + 1].splitlines():
            if line.startswith("{") and (event := json.loads(line))["event"] == "ready":
                return str(event["address"])
        if ended is not None or time.monotonic() > deadline_s:
            raise Failure(f"the server that is to be measured did not get ready:\n{text.strip()}")
        time.sleep(_POLL_S)
