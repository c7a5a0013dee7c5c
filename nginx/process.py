"""Child processes that end with their parent, and free ports."""

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import socket
from collections.abc import Sequence
from typing import Any

_PR_SET_PDEATHSIG = 1  # of Linux' prctl(2)
_PORTS = (20_000, 32_768)  # below those that Linux gives to clients
_libc = ctypes.CDLL(None)


async def spawn(command: Sequence[str], **options: Any) -> asyncio.subprocess.Process:
    """Start a process in its own session, out of reach of Ctrl-C. It gets SIGTERM if we die."""
    parent = os.getpid()

    def follow_parent() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it has died already
            os._exit(1)

    return await asyncio.create_subprocess_exec(*command, start_new_session=True, preexec_fn=follow_parent, **options)


async def end(process: asyncio.subprocess.Process, number: signal.Signals, timeout_s: float = 30) -> None:
    """Send a signal and wait; after the timeout, or when cancelled, kill the process. Kill what it leaves behind."""
    try:
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            process.send_signal(number)
            await asyncio.wait_for(process.wait(), timeout_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def free_port(host: str = "127.0.0.1") -> int:
    """A port of an address that is not in use. Clients get higher ones, so none takes it before it is used."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        for port in random.sample(range(*_PORTS), 100):
            with contextlib.suppress(OSError):
                probe.bind((host, port))
                return port
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
