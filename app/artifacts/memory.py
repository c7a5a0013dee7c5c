"""How much memory a model needs, and how much is left for it."""

import os
from pathlib import Path

from ..errors import ArtifactError
from ..inference import Artifact, choices, has_gpu, has_torch

_MIB = 1024**2
# The highest use while a model is loaded, as multiples of the size of its weights: the bytes of the file, and what the
# runtime makes of them. Measured with the embedded model (19 MiB) and one of DistilBERT's size (76 to 304 MiB) on
# x86-64: see `docs/measurements.md`.
_ONNX = {("int8", False): 3.0, ("int8", True): 5.5, ("onnx", False): 2.4, ("onnx", True): 3.6}
_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
# The tokenizer, the arrays of a batch and, with PyTorch, the modules of the architecture.
_BESIDE = {"onnx": 20 * _MIB, "torch": 40 * _MIB}
_OWN_BACKEND = 2.0  # of which nothing is known, but that it reads the file and keeps it

_UNLIMITED = 2**62  # what version 1 of cgroups states instead of "no limit" is about twice as much


def memory_needed(artifact: Artifact, backend: str, device: str, slots: int, *, precision: str = "auto") -> int:
    """Estimate the bytes of main memory that loading `artifact` takes at its highest, before it is loaded.

    `backend`, `device` and `precision` are those of `load_model`. Memory of a GPU does not count. Raises
    `ArtifactError` if no installed backend can run the artifact.
    """
    if backend == "mock":
        return _BESIDE["onnx"]
    if backend == "auto" or device == "auto":
        chosen = choices(backend, device, artifact, has_torch=has_torch(), has_gpu=has_gpu())[0]
        backend, device = chosen.backend, chosen.device
    sizes = {kind: artifact.weight_bytes(file) for kind, file in artifact.files.items()}
    if backend == "onnx" and (kind := _onnx_kind(sizes, precision)):
        # With several slots on a CPU, there are two sessions, each with its own copy of the weights.
        return int(sizes[kind] * _ONNX[kind, device == "cpu" and slots > 1]) + _BESIDE["onnx"]
    if backend == "torch" and "safetensors" in sizes:
        size = sizes["safetensors"]
        # The tensors as they are stored, and beside them the bytes of a file, then those in the precision to run.
        ready = size * _BYTES.get(precision, 2 if device == "cuda" else 4) // _stored_bytes(artifact)
        return size + max(size, ready) + _BESIDE["torch"]
    return int(max(sizes.values(), default=0) * _OWN_BACKEND) + _BESIDE["onnx"]


def _onnx_kind(sizes: dict[str, int], precision: str) -> str | None:
    kinds = {"int8": ("int8",), "fp32": ("onnx",)}.get(precision, ("int8", "onnx"))
    return next((kind for kind in kinds if kind in sizes), None)


def _stored_bytes(artifact: Artifact) -> int:
    """Return the bytes that each weight has in the file, as config.json states it; 4 is the default."""
    config = artifact.source.read_json("config.json")
    stated = str(config.get("dtype", config.get("torch_dtype")))  # the second is the older name
    return 2 if stated in ("float16", "bfloat16") else 4


def memory_limit(setting: int = 0, *, root: Path = Path("/")) -> int:
    """Return the bytes that the service may use: the lowest of `setting`, cgroup, RLIMIT_AS and machine; 0 if unknown.

    `setting` 0 means none. `root` has the folders `proc` and `sys`.
    """
    limits = [setting, _machine_bytes(root), _address_space()]
    limits += [_number(_read(folder / name)) for folder, name, _ in _groups(root)]
    return min((limit for limit in limits if 0 < limit < _UNLIMITED), default=0)


def memory_used(workers: int = 1, *, root: Path = Path("/")) -> int:
    """Return the bytes that the service uses: of this process or, with several workers, of all of them.

    Several workers are counted by their cgroup, without the files that the system would drop first; outside of a
    cgroup, each counts as much as this one. 0 if unknown.
    """
    if workers > 1:
        for folder, _, (current, inactive) in _groups(root):
            if used := _number(_read(folder / current)):
                return max(0, used - _field(_read(folder / "memory.stat"), inactive))
    pages = _read(root / "proc/self/statm").split()
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") * workers if len(pages) > 1 else 0


def check_fits(name: str, needed: int, limit: int, used: int) -> None:
    """Raise `ArtifactError`, with the figures, if the model `name` needs more bytes than are left.

    A limit of 0 is one that is not known.
    """
    left = max(0, limit - used)
    if limit and needed > left:
        raise ArtifactError(
            f"{name} needs about {_megabytes(needed)}, and {_megabytes(left)} of {_megabytes(limit)} are left; stop "
            "serving another version, or raise the memory limit of the container or SENTIMENT_MEMORY_LIMIT_BYTES"
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


Group = tuple[Path, str, tuple[str, str]]


def _groups(root: Path) -> list[Group]:
    """Return the cgroups that limit this process, its own first: folder, file of the limit, names for what is used."""
    lines = [line.split(":", 2) for line in _read(root / "proc/self/cgroup").splitlines()]
    own = {kind: path for parts in lines if len(parts) == 3 for kind in parts[1].split(",") for path in parts[2:]}
    new, old = root / "sys/fs/cgroup", root / "sys/fs/cgroup/memory"
    # In a container, the process's own group appears as the root of the tree; under systemd it does not.
    if (new / "cgroup.controllers").is_file():
        named = ("memory.max", ("memory.current", "inactive_file"))
        return [(folder, *named) for folder in _with_parents(new, own.get("", "/"))]
    named = ("memory.limit_in_bytes", ("memory.usage_in_bytes", "total_inactive_file"))
    return [(folder, *named) for folder in _with_parents(old, own.get("memory", "/"))]


def _with_parents(tree: Path, path: str) -> list[Path]:
    group = tree / path.strip("/")
    return [folder for folder in (group, *group.parents) if folder.is_relative_to(tree)]


def _machine_bytes(root: Path) -> int:
    if kib := _field(_read(root / "proc/meminfo"), "MemTotal:"):
        return kib * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # a system without /proc
    except (AttributeError, OSError, ValueError):
        return 0


def _address_space() -> int:
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 0
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return 0 if soft == resource.RLIM_INFINITY else soft


def _field(text: str, name: str) -> int:
    """Return the number after a name at the start of a line; 0 if there is none."""
    lines = (line.split() for line in text.splitlines())
    return next((_number(parts[1]) for parts in lines if len(parts) > 1 and parts[0] == name), 0)


def _number(text: str) -> int:
    return int(text) if text.strip().isdecimal() else 0


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
