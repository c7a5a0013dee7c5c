"""The processor: usable cores, support for int8, and thread priority."""

import contextlib
import os
import platform
import sys
import threading
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_CGROUP = Path("/proc/self/cgroup")
_CGROUP_V2 = Path("/sys/fs/cgroup")
_CGROUP_V1 = (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))

_NICENESS = 5  # gives a thread a third of the processor time of a thread with niceness 0


def usable_cores() -> int:
    """Return the cores that affinity and container quota allow, at least 1.

    The number of cores of the host would be wrong: in a container limited to 2 of 64 cores, 64 threads would wait for
    each other.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(affinity, _quota() or affinity)


def overflows_in_int8() -> bool:
    """Return whether sums of int8 products can overflow: on x86 without VNNI, or if its presence is unknown."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "_vnni" not in _CPUINFO.read_text()
    except OSError:
        return True


def give_way(steps: int = 1) -> None:
    """Lower the priority of the calling thread, on systems with a priority per thread (Linux).

    Model threads use every core. They run at lower priority than the event loop, so that it reads and answers in time.
    What prepares another model runs one step below them. A thread that it starts has the same priority.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            niceness = os.getpriority(os.PRIO_PROCESS, thread) + steps * _NICENESS
            os.setpriority(os.PRIO_PROCESS, thread, min(19, niceness))


def _quota() -> int | None:
    """Return the lowest limit of the process's own cgroup and its parents, in cores."""
    limits = []
    if (_CGROUP_V2 / "cgroup.controllers").is_file():
        # In a container the process's own group appears as the root; under systemd it does not.
        group = _CGROUP_V2 / _read(_CGROUP).rpartition("::")[2].strip().lstrip("/")
        groups = [folder for folder in (group, *group.parents) if folder.is_relative_to(_CGROUP_V2)]
        limits += [_read(folder / "cpu.max").split() for folder in groups]
    else:
        limits.append([_read(file).strip() for file in _CGROUP_V1])
    cores = [
        max(1, round(int(quota) / int(period)))
        for quota, period in (limit for limit in limits if len(limit) == 2)
        if quota.isdecimal() and period.isdecimal()
    ]
    return min(cores, default=None)


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
