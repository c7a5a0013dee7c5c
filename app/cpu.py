"""What the processor offers: the cores that this process may really use, and the instructions that int8 needs."""

import os
import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
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


def _quota() -> int | None:
    try:
        if _CGROUP_V2.is_file():
            quota, period = _CGROUP_V2.read_text().split()
        else:
            quota, period = (file.read_text().strip() for file in _CGROUP_V1)
        return None if quota in ("max", "-1") else max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):
        return None
