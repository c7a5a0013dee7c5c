"""Starts processes of the application as forks of one that has imported it.

Most of the time of a start goes into imports, and the tests start hundreds of processes. Tests of starting itself use
processes of their own.
"""

import array
import atexit
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO

_NUMBER = struct.Struct("i")


class Process:
    """What `subprocess.Popen` would be for a process that another one has started."""

    def __init__(self, pid: int, status: int, args: Sequence[str]) -> None:
        """`status` is the end of a pipe that gets the exit status."""
        self.pid = pid
        self.returncode: int | None = None
        self._status = status
        self._args = args

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while the process runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status when the process has ended. Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(list(self._args), timeout or 0)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _end(self) -> None:
        answer = os.read(self._status, _NUMBER.size)
        assert answer, "the process that starts others has ended"
        (self.returncode,) = _NUMBER.unpack(answer)
        os.close(self._status)


def start(
    imports: Sequence[str], code: str, args: Sequence[str], cwd: Path, environment: Mapping[str, str], stderr: IO[bytes]
) -> Process:
    """Run `python -c CODE ARGS` in a process that has imported modules before it gets its environment."""
    reading, writing = os.pipe()
    request = {"code": code, "args": [*args], "cwd": str(cwd), "environment": dict(environment)}
    message = json.dumps(request).encode()
    try:
        # The length is in the first message, with the descriptors; a message of a stream may arrive in pieces.
        descriptors = array.array("i", [stderr.fileno(), writing])
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)]
        parent = _parent(tuple(imports))
        parent.sendmsg([_NUMBER.pack(len(message))], ancillary)
        parent.sendall(message)
    finally:
        os.close(writing)
    (pid,) = _NUMBER.unpack(os.read(reading, _NUMBER.size))
    return Process(pid, reading, args)


@cache
def _parent(imports: tuple[str, ...]) -> socket.socket:
    """Start the process whose forks all others are. It ends with this one."""
    ours, theirs = socket.socketpair()
    code = f"from tests.support.forks import serve_forks\nexec(serve_forks({imports!r}))"
    with theirs:
        process = subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def serve_forks(imports: Sequence[str]) -> str:
    """Start a process for each request. Returns only in these, and what: the code that they are to run."""
    for name in imports:
        import_module(name)
    requests = socket.socket(fileno=os.dup(0))
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    running: dict[int, tuple[int, int]] = {}  # by the descriptor that becomes readable at the end: process, pipe
    while True:
        ready, _, _ = select.select([requests, *running], [], [])
        for descriptor in ready:
            if descriptor is not requests:
                _report(descriptor, *running.pop(descriptor))
        if requests in ready:
            size, descriptors, _, _ = socket.recv_fds(requests, _NUMBER.size, 2)
            if not size:
                sys.exit()
            message = bytearray()
            while len(message) < _NUMBER.unpack(size)[0]:
                message += requests.recv(_NUMBER.unpack(size)[0] - len(message))
            stderr, status = descriptors
            process = os.fork()
            if not process:
                for each, (_, pipe) in running.items():
                    os.close(each)
                    os.close(pipe)
                os.close(status)
                requests.close()
                return _become(json.loads(message), stderr)
            os.close(stderr)
            os.write(status, _NUMBER.pack(process))
            running[os.pidfd_open(process)] = process, status


def _report(descriptor: int, process: int, pipe: int) -> None:
    _, status = os.waitpid(process, 0)
    os.close(descriptor)
    with suppress(BrokenPipeError):  # nobody wants to know
        os.write(pipe, _NUMBER.pack(os.waitstatus_to_exitcode(status)))
    os.close(pipe)


def _become(request: Mapping[str, object], stderr: int) -> str:
    os.dup2(stderr, 2)
    os.close(stderr)
    os.chdir(str(request["cwd"]))
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[arg-type]
    time.tzset()
    sys.argv = ["-c", *request["args"]]  # type: ignore[misc]
    return str(request["code"])
