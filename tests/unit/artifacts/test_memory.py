"""Memory: what a model needs, what is left, and the figures in the refusal."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.artifacts import check_fits, memory_limit, memory_needed, memory_used
from app.errors import ArtifactError
from app.inference import open_artifact
from tests.support.process import ROOT

MIB = 1024**2
CONFIG = '{"id2label": {"0": "bad", "1": "good"}%s}'


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, 8000 * 1024),
        ({"sys/fs/cgroup/cgroup.controllers": "memory", "sys/fs/cgroup/memory.max": "5000000\n"}, 5_000_000),
        ({"sys/fs/cgroup/cgroup.controllers": "memory", "sys/fs/cgroup/memory.max": "max\n"}, 8000 * 1024),
        (
            {
                "proc/self/cgroup": "0::/system.slice/sentiment.service\n",
                "sys/fs/cgroup/cgroup.controllers": "cpu memory",
                "sys/fs/cgroup/system.slice/memory.max": "4000000",
                "sys/fs/cgroup/system.slice/sentiment.service/memory.max": "6000000",
            },
            4_000_000,
        ),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "3000000"}, 3_000_000),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, 8000 * 1024),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/\n4:hugetlb,memory:/docker/1\nnonsense\n",
                "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": "2000000",
            },
            2_000_000,
        ),
    ],
)
def test_the_limit_is_the_lowest_of_cgroup_and_machine(tmp_path: Path, files: dict[str, str], limit: int) -> None:
    root = machine(tmp_path, {"proc/meminfo": "MemTotal:    8000 kB\nMemFree:   10 kB\n"} | files)
    assert memory_limit(root=root) == limit
    assert memory_limit(1_000_000, root=root) == 1_000_000
    assert memory_limit(10**12, root=root) == limit


def test_the_limit_of_the_address_space_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = machine(tmp_path, {"proc/meminfo": "MemTotal: 8000 kB\n"})
    monkeypatch.setattr(resource, "getrlimit", lambda _: (7_000_000, resource.RLIM_INFINITY))
    assert memory_limit(root=root) == 7_000_000
    monkeypatch.setitem(sys.modules, "resource", None)  # Windows
    assert memory_limit(root=root) == 8000 * 1024


def test_a_system_without_proc_says_how_large_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_limit(root=tmp_path) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.delattr(os, "sysconf")
    assert memory_limit(root=tmp_path) == 0
    assert memory_used(root=tmp_path) == 0


def test_one_process_uses_its_resident_pages(tmp_path: Path) -> None:
    root = machine(tmp_path, {"proc/self/statm": "900 50 20 1 0 30 0\n"})
    assert memory_used(root=root) == 50 * os.sysconf("SC_PAGE_SIZE")
    assert memory_used(3, root=root) == 150 * os.sysconf("SC_PAGE_SIZE")
    assert memory_used() > 10 * MIB


@pytest.mark.parametrize(
    "files",
    [
        {
            "sys/fs/cgroup/cgroup.controllers": "memory",
            "sys/fs/cgroup/memory.current": "900000",
            "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 200000\n",
        },
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/cgroup.controllers": "memory",
            "sys/fs/cgroup/a/memory.current": "900000",
            "sys/fs/cgroup/a/memory.stat": "inactive_file 200000\n",
        },
        {
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "900000",
            "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 200000\n",
        },
    ],
)
def test_several_workers_use_what_their_cgroup_counts(tmp_path: Path, files: dict[str, str]) -> None:
    root = machine(tmp_path, {"proc/self/statm": "900 50 20 1 0 30 0\n"} | files)
    assert memory_used(2, root=root) == 700_000
    assert memory_used(1, root=root) == 50 * os.sysconf("SC_PAGE_SIZE")


def test_a_model_that_does_not_fit_is_refused_with_the_figures() -> None:
    check_fits("mine", 100, 0, 10**12)  # the limit is not known
    check_fits("mine", 120_000_000, 512_000_000, 392_000_000)
    message = (
        "mine needs about 310 MB, and 120 MB of 512 MB are left; stop serving another version, or raise the memory "
        "limit of the container or SENTIMENT_MEMORY_LIMIT_BYTES"
    )
    with pytest.raises(ArtifactError, match=f"^{message}$"):
        check_fits("mine", 310_000_000, 512_000_000, 392_000_000)
    with pytest.raises(ArtifactError, match="mine needs about 1 MB, and 0 MB of 1,000 MB are left"):
        check_fits("mine", 1_000_000, 10**9, 10**10)


@pytest.mark.parametrize(
    ("sizes", "config", "how", "needed"),
    [
        ({"model_int8.onnx": 100}, "", {"slots": 1}, 300 + 20),
        ({"model_int8.onnx": 100, "model.onnx": 400}, "", {"slots": 2}, 550 + 20),
        ({"model_int8.onnx": 100, "model.onnx": 400}, "", {"slots": 1, "precision": "fp32"}, 960 + 20),
        ({"model.onnx": 400}, "", {"slots": 4}, 1440 + 20),
        ({"model.onnx": 400}, "", {"slots": 4, "device": "cuda"}, 960 + 20),
        ({"model.safetensors": 250}, "", {"slots": 2, "backend": "torch"}, 500 + 40),
        ({"model.safetensors": 250}, ', "dtype": "float16"', {"slots": 2, "backend": "torch"}, 750 + 40),
        (
            {"model.safetensors": 250},
            ', "torch_dtype": "bfloat16"',
            {"slots": 2, "backend": "torch", "precision": "bf16"},
            500 + 40,
        ),
        ({"model.safetensors": 250}, ', "dtype": "float16"', {"backend": "torch", "device": "cuda"}, 500 + 40),
        ({"model.safetensors": 250, "model.onnx": 400}, "", {"backend": "my.own:Backend"}, 800 + 20),
        ({"model.safetensors": 250}, "", {"backend": "onnx"}, 500 + 20),
        ({"model.onnx": 400}, "", {"backend": "mock"}, 20),
    ],
)
def test_the_need_depends_on_files_backend_device_and_slots(
    tmp_path: Path, sizes: dict[str, int], config: str, how: dict[str, Any], needed: int
) -> None:
    (tmp_path / "config.json").write_text(CONFIG % config)
    for name, size in sizes.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(size * MIB)
    options = {"backend": "onnx", "device": "cpu", "slots": 1} | how
    assert memory_needed(open_artifact(str(tmp_path)), **options) == pytest.approx(needed * MIB, abs=2)


def test_the_backend_may_be_chosen_automatically(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(CONFIG % "")
    (tmp_path / "model.onnx").write_bytes(bytes(10 * MIB))
    found = open_artifact(str(tmp_path))
    assert memory_needed(found, "auto", "auto", 1) == memory_needed(found, "onnx", "cpu", 1)
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(ArtifactError, match="no weights"):
        memory_needed(open_artifact(str(tmp_path)), "auto", "auto", 1)


def test_weights_in_several_files_count_together(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(CONFIG % "")
    index = '{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    (tmp_path / "model.safetensors.index.json").write_text(index)
    (tmp_path / "model-1.safetensors").write_bytes(bytes(1000))
    (tmp_path / "model-2.safetensors").write_bytes(bytes(2000))
    (tmp_path / "model.onnx").write_bytes(b"\x0a\x08location\x12\x07weights")
    (tmp_path / "weights").write_bytes(bytes(5000))
    found = open_artifact(str(tmp_path))
    sizes = {kind: found.weight_bytes(file) for kind, file in found.files.items()}
    assert sizes == {"safetensors": 3000 + len(index), "onnx": 5000 + 19}
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"model\.onnx: No such file"):
        found.weight_bytes(found.files["onnx"])


@pytest.mark.parametrize(("backend", "precision", "slots"), [("onnx", "int8", 2), ("torch", "fp32", 1)])
def test_the_estimate_is_near_what_loading_really_takes(backend: str, precision: str, slots: int) -> None:
    code = f"""
import importlib
from pathlib import Path
from app.inference import load_model, open_artifact
from app.artifacts import memory_needed, memory_used
importlib.import_module("app.inference.backends.{backend}")
load_model("mock", backend="mock")
before = memory_used()
Path("/proc/self/clear_refs").write_text("5")
model = load_model(backend="{backend}", device="cpu", precision="{precision}", slots={slots}, max_batch_size=1)
peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
needed = memory_needed(open_artifact("sentiment-en"), "{backend}", "cpu", {slots}, precision="{precision}")
print(needed / (int(peak) * 1024 - before))
"""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("this system does not tell the highest use of memory")
    program = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    assert 0.7 < float(done.stdout) < 2.5
