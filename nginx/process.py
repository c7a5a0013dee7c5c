"""Processes that are started here, and what ends them."""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

_PR_SET_PDEATHSIG = 1  # of Linux' prctl(2)
_libc = ctypes.CDLL(None)


async def spawn(command: Sequence[str], **options: Any) -> asyncio.subprocess.Process:
    """Start a process in a session of its own (Ctrl-C is for us alone), which is told to end if we are killed."""
    parent = os.getpid()

    def follow() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # we have been killed before
            os._exit(1)

    return await asyncio.create_subprocess_exec(*command, start_new_session=True, preexec_fn=follow, **options)


async def end(process: asyncio.subprocess.Process, number: signal.Signals, patience_s: float = 30) -> None:
    """Send a signal and wait; then kill what has not ended, or was left behind by it."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), patience_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(*lines: str) -> None:
    """Tell the person who started it."""
    print("\n".join(f"replicas: {line}" for line in lines), file=sys.stderr, flush=True)
