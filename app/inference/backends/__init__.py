"""Which backend runs the model: a table, and the rule behind `auto`."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from ...errors import ArtifactError
from ..artifact import Artifact

# Imported when chosen, so that none is needed that isn't used.
BACKENDS = {
    "onnx": ".backends.onnx:OnnxBackend",
    "torch": ".backends.torch:TorchBackend",
    "mock": ".backends.mock:MockBackend",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend worth trying, on which device, and why: for people, in the log."""

    backend: str
    device: str
    reason: str


def choices(backend: str, device: str, artifact: Artifact, *, has_torch: bool, has_gpu: bool) -> list[Choice]:
    """Return the backends to try, best first; only `auto` has a second one to fall back on.

    Raises `ArtifactError` when nothing that is installed can run what the artifact holds.
    """
    on = "cuda" if device == "cuda" or (device == "auto" and has_gpu) else "cpu"
    if backend != "auto":
        # ONNX Runtime takes the GPU only when told to: its CUDA build is another package.
        if device != "auto" or backend == "mock":
            return [Choice(backend, "cuda" if device == "cuda" else "cpu", "asked for")]
        found = [Choice("torch", "cuda", "asked for, and there is a GPU")] if backend == "torch" and has_gpu else []
        return [*found, Choice(backend, "cpu", "asked for")]
    has_onnx = not artifact.files.keys().isdisjoint({"int8", "onnx"})
    can_torch = "safetensors" in artifact.files and has_torch
    found = []
    if on == "cuda" and can_torch:
        found.append(Choice("torch", "cuda", "PyTorch is installed and there is a GPU"))
    if has_onnx and device == "cuda":
        found.append(Choice("onnx", "cuda", "there is an ONNX file and the GPU was asked for"))
    if has_onnx and device != "cuda":
        found.append(Choice("onnx", "cpu", "there is an ONNX file, the fastest format on a CPU"))
    if can_torch and device != "cuda":
        found.append(Choice("torch", "cpu", "there are weights and PyTorch is installed"))
    if not found:
        raise ArtifactError(
            f"{artifact.directory}: nothing installed can run it. It has {', '.join(sorted(artifact.files))}. "
            "Export it with `python -m onnx_export`, or install PyTorch with `pip install 'rt-sentiment[torch]'`"
        )
    return found


def has_torch() -> bool:
    """Whether PyTorch and transformers are installed; importing them to find out would cost seconds."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))


def has_gpu() -> bool:
    """Whether there is an NVIDIA device that this process is allowed to see."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return False
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()
