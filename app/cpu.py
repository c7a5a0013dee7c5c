"""What the processor offers: cores that this process may really use, instructions that int8 needs, and turns."""

import contextlib
import os
import platform
import sys
import threading
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_CGROUP = Path("/proc/self/cgroup")
_CGROUP_V2 = Path("/sys/fs/cgroup")
_GIVE_WAY = 5  # steps of niceness: a third of the share of a thread that has none
_CGROUP_V1 = (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))


def usable_cores() -> int:
    """Cores by affinity and container quota, at least 1.

    The host's count is no guide: in a container limited to two cores of 64, 64 threads wait for each other.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(affinity, _quota() or affinity)


def overflows_in_int8() -> bool:
    """Whether sums of int8 products can overflow: on x86 without VNNI, or where that cannot be told."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "_vnni" not in _CPUINFO.read_text()
    except OSError:
        return True


def give_way() -> None:
    """Let other threads go before the calling one, where the system has a priority for each thread (Linux).

    For threads that run the model: they fill every core, and an event loop that gets its turn after them reads, refuses
    and answers late.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + _GIVE_WAY))


def _quota() -> int | None:
    """The least of the limits that hold for this process: its own group's, and those of the groups around it."""
    limits = []
    if (_CGROUP_V2 / "cgroup.controllers").is_file():
        # In a container the own group looks like the root; under systemd it doesn't.
        group = _CGROUP_V2 / _read(_CGROUP).rpartition("::")[2].strip().lstrip("/")
        around = [folder for folder in (group, *group.parents) if folder.is_relative_to(_CGROUP_V2)]
        limits += [_read(folder / "cpu.max").split() for folder in around]
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
