import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app import cpu


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda _pid: set(range(8)))


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(
    ("own", "parent", "cores"),
    [
        ("200000 100000", "max 100000", 2),
        ("max 100000", "max 100000", 8),
        ("50000 100000", "400000 100000", 1),
        ("max 100000", "300000 100000", 3),
        ("150000 100000", "?", 2),
    ],
)
def test_the_lowest_quota_of_a_group_and_its_parents_applies(
    own: str, parent: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "cgroup"
    (root / "system" / "mine").mkdir(parents=True)
    (root / "cgroup.controllers").write_text("cpu")
    (root / "system" / "cpu.max").write_text(parent)
    (root / "system" / "mine" / "cpu.max").write_text(own)
    (tmp_path / "self").write_text("0::/system/mine\n")
    monkeypatch.setattr(cpu, "_CGROUP_V2", root)
    monkeypatch.setattr(cpu, "_CGROUP", tmp_path / "self")
    assert cpu.usable_cores() == cores


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(("quota", "cores"), [("300000", 3), ("-1", 8)])
def test_cgroup_v1_has_the_quota_in_two_files(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quota").write_text(quota + "\n")
    (tmp_path / "period").write_text("100000\n")
    monkeypatch.setattr(cpu, "_CGROUP_V2", tmp_path / "none")
    monkeypatch.setattr(cpu, "_CGROUP_V1", (tmp_path / "quota", tmp_path / "period"))
    assert cpu.usable_cores() == cores


@pytest.mark.usefixtures("eight_cores")
def test_without_a_quota_affinity_applies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_CGROUP_V2", tmp_path / "none")
    monkeypatch.setattr(cpu, "_CGROUP_V1", (tmp_path / "none", tmp_path / "none"))
    assert cpu.usable_cores() == 8


@pytest.mark.parametrize(
    ("machine", "flags", "overflows"),
    [
        ("x86_64", "avx2 avx512_vnni", False),
        ("AMD64", "avx2 avx_vnni", False),
        ("x86_64", "avx2 avx512f", True),
        ("x86_64", None, True),
        ("aarch64", "asimd", False),
    ],
)
def test_only_x86_without_vnni_overflows_in_int8(
    machine: str, flags: str | None, overflows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    monkeypatch.setattr(cpu.platform, "machine", lambda: machine)
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "cpuinfo")
    assert cpu.overflows_in_int8() is overflows


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_only_the_thread_that_gives_way_gets_a_lower_priority() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with ThreadPoolExecutor(1, initializer=cpu.give_way) as pool:
        niceness = pool.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result()
    assert niceness == min(19, before + 5)
    with ThreadPoolExecutor(1, initializer=cpu.give_way, initargs=(2,)) as pool:
        niceness = pool.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result()
    assert niceness == min(19, before + 10)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
