"""How the process of a job gives way to a service on the same cores. Threads inherit it from what starts them."""

import os
from contextlib import suppress
from pathlib import Path

NICENESS = 19
_AUTOGROUP = Path("/proc/self/autogroup")


def lower_process() -> None:
    """Give this process, which leads a group, the lowest priority.

    Linux compares priorities within a session only, and sessions with each other by that of their group (`sched(7)`).
    So the process gets a session of its own, for which it must leave the group that it leads.
    """
    os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    os.setpgid(0, os.getpgid(os.getppid()))
    os.setsid()
    with suppress(OSError):  # not Linux, or not allowed
        _AUTOGROUP.write_text(str(NICENESS))


def lower_work() -> None:
    """Let this thread, and those that begin later, run only when nobody else wants the core."""
    if NICENESS and hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
