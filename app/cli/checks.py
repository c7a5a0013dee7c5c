"""The checks of `rt-sentiment doctor`. Each is a function of the settings that returns findings and changes nothing."""

import importlib.metadata
import importlib.util
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from ..config import PREFIX, Settings
from ..cpu import overflows_in_int8, usable_cores
from ..errors import SentimentError
from ..inference import choices, has_gpu, has_torch, load_model, open_artifact
from . import access_checks
from .finding import Finding

_LEAST_MEMORY_MIB = 512
_LEAST_DESCRIPTORS = 4096
_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def run_checks(settings: Settings) -> list[Finding]:
    """Run every check. One that fails itself is a problem, and the others still run."""
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        try:
            findings += check(settings)
        except Exception as error:  # whatever a broken machine or package raises
            findings.append(Finding(name, "problem", f"the check failed: {type(error).__name__}: {error}"))
    return findings


def _python(_settings: Settings) -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")


def _cores(_settings: Settings) -> Iterator[Finding]:
    usable, every = usable_cores(), os.cpu_count() or 1
    limited = f"{usable} of {every} may be used (affinity and cgroup limit)"
    yield Finding("cores", "ok", limited if usable < every else str(usable))


def _memory(_settings: Settings) -> Iterator[Finding]:
    limit = next((int(text) for file in _MEMORY_LIMITS if (text := _read(file).strip()).isdecimal()), None)
    total = next((int(line.split()[1]) * 1024 for line in _read(_MEMINFO).splitlines() if "MemTotal" in line), None)
    known = [value for value in (limit, total) if value]
    if not known:
        yield Finding("memory", "warning", "its size is not known on this system")
        return
    mib = min(known) // 2**20
    detail = f"{mib:,} MiB" + (" (cgroup limit)" if limit and limit == min(known) and limit != total else "")
    if mib < _LEAST_MEMORY_MIB:
        yield Finding("memory", "warning", detail, f"a process needs about 250 MiB; allow {_LEAST_MEMORY_MIB} MiB")
    else:
        yield Finding("memory", "ok", detail)


def _processor(_settings: Settings) -> Iterator[Finding]:
    flags = next((line.split() for line in _read(_CPUINFO).splitlines() if line.startswith(("flags", "Features"))), [])
    wanted = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimd", "i8mm")
    detail = f"{platform.machine()} with {', '.join(name for name in wanted if name in flags) or 'none of AVX2, VNNI'}"
    if overflows_in_int8():
        fix = "scores are right, but int8 takes 1.4 times as long; a processor with VNNI is faster"
        yield Finding("processor", "warning", detail, fix)
    else:
        yield Finding("processor", "ok", detail)


def _packages(settings: Settings) -> Iterator[Finding]:
    if importlib.util.find_spec("onnxruntime"):
        yield Finding("onnxruntime", "ok", _version("onnxruntime", "onnxruntime-gpu"))
    else:
        yield Finding("onnxruntime", "problem", "not installed", "pip install rt-sentiment")
    gpu = "there is an NVIDIA device" if has_gpu() else "no NVIDIA device"
    if has_torch():
        yield Finding("torch", "ok", f"{_version('torch')}, transformers {_version('transformers')}; {gpu}")
    elif has_gpu() or settings.backend == "torch":
        level: Literal["warning", "problem"] = "problem" if settings.backend == "torch" else "warning"
        yield Finding("torch", level, f"not installed; {gpu}", "pip install 'rt-sentiment[torch]'")
    else:
        yield Finding("torch", "ok", f"not installed, and not needed; {gpu}")
    if importlib.util.find_spec("pyarrow"):
        yield Finding("pyarrow", "ok", f"{_version('pyarrow')}; score reads and writes Parquet")
    else:
        yield Finding("pyarrow", "ok", "not installed; only Parquet needs it: pip install 'rt-sentiment[parquet]'")


def _model(settings: Settings) -> Iterator[Finding]:
    if settings.backend != "mock":
        hint = f"{PREFIX}MODEL names an embedded model, a directory or a hub name"
        try:
            artifact = open_artifact(settings.model)
            artifact.verify_companions()
            artifact.verify(*artifact.files.values())
        except SentimentError as error:
            yield Finding("model", "problem", str(error), hint)
            return
        checked = "checksums match" if artifact.manifest else "no manifest.json, so nothing to compare with"
        level: Literal["ok", "warning"] = "ok" if artifact.manifest else "warning"
        fix = "" if artifact.manifest else "export it with `python -m onnx_export` to get one"
        yield Finding(
            "model", level, f"{artifact.name} {artifact.version}: {', '.join(artifact.files)}; {checked}", fix
        )
        try:
            first = choices(settings.backend, settings.device, artifact, has_torch=has_torch(), has_gpu=has_gpu())[0]
        except SentimentError as error:
            yield Finding("backend", "problem", str(error))
            return
        yield Finding("backend", "ok", f"{settings.backend} means {first.backend} on {first.device}: {first.reason}")
    try:
        started_s = time.perf_counter()
        model = load_model(
            settings.model,
            digest=settings.model_digest,
            backend=settings.backend,
            device=settings.device,
            precision=settings.precision,
            depth=settings.depth,
        )
        loaded_s = time.perf_counter() - started_s
        started_s = time.perf_counter()
        model.predict(["It works."])
        took_ms = (time.perf_counter() - started_s) * 1000
    except SentimentError as error:
        yield Finding("prediction", "problem", str(error), f"check {PREFIX}BACKEND, {PREFIX}DEVICE, {PREFIX}PRECISION")
        return
    runs = f"{model.info.backend} {model.info.precision} on {model.info.device}"
    yield Finding("prediction", "ok", f"{runs}; loaded in {loaded_s:.1f} s, one text takes {took_ms:.1f} ms")


def _descriptors(_settings: Settings) -> Iterator[Finding]:
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _LEAST_DESCRIPTORS:
        fix = f"each connection takes one: ulimit -n {_LEAST_DESCRIPTORS}, or LimitNOFILE in systemd"
        yield Finding("descriptors", "warning", f"at most {soft:,} open files and connections", fix)
    else:
        yield Finding("descriptors", "ok", "no limit" if soft == resource.RLIM_INFINITY else f"at most {soft:,}")


def _version(*names: str) -> str:
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "of unknown version"


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


CHECKS: dict[str, Callable[[Settings], Iterator[Finding]]] = {
    "python": _python,
    "cores": _cores,
    "memory": _memory,
    "processor": _processor,
    "packages": _packages,
    "model": _model,
    "port": access_checks.port,
    "descriptors": _descriptors,
    "keys": access_checks.keys,
    "tokens": access_checks.tokens,
    "tls": access_checks.tls,
    "redis": access_checks.redis,
}
