"""The rule behind `SENTIMENT_BACKEND=auto`."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from ...errors import ArtifactError
from ..artifact import FORMATS, PICKLED, Artifact


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend to try on a device; the log shows the reason."""

    backend: str
    device: str
    reason: str


def choices(backend: str, device: str, artifact: Artifact, *, has_torch: bool, has_gpu: bool) -> list[Choice]:
    """Return the backends to try, best first. Only `auto` has others to fall back on.

    Raises `ArtifactError` if no installed backend can run the artifact.
    """
    on_gpu = device == "cuda" or (device == "auto" and has_gpu)
    if backend != "auto":
        # ONNX Runtime uses the GPU only if the device is named: its CUDA build is another package.
        if device != "auto" or backend == "mock":
            return [Choice(backend, "cuda" if device == "cuda" else "cpu", "named in the settings")]
        first = [Choice("torch", "cuda", "named in the settings, and there is a GPU")]
        return [*(first if backend == "torch" and has_gpu else []), Choice(backend, "cpu", "named in the settings")]
    if not artifact.files:
        if pickled := [name for name in PICKLED if (artifact.directory / name).is_file()]:
            raise ArtifactError(
                f"{artifact.directory}: {pickled[0]} may contain code, so it is not loaded. Convert the model with "
                "`python -m onnx_export`, if you trust its author"
            )
        every = ", ".join(name for names in FORMATS.values() for name in names)
        raise ArtifactError(f"{artifact.directory}: no weights; looked for {every}")
    has_onnx = not artifact.files.keys().isdisjoint({"int8", "onnx"})
    can_torch = "safetensors" in artifact.files and has_torch
    options = [
        (on_gpu and can_torch, Choice("torch", "cuda", "PyTorch is installed and there is a GPU")),
        (has_onnx and device == "cuda", Choice("onnx", "cuda", "there is an ONNX file and the device is cuda")),
        (has_onnx and device != "cuda", Choice("onnx", "cpu", "there is an ONNX file, the fastest format on a CPU")),
        (can_torch and device != "cuda", Choice("torch", "cpu", "there are weights and PyTorch is installed")),
    ]
    possible = [choice for is_possible, choice in options if is_possible]
    if not possible:
        raise ArtifactError(
            f"{artifact.directory}: no installed backend can run it. It has "
            f"{', '.join(sorted(artifact.files))}. Export it with `python -m onnx_export`, or install PyTorch with "
            "`pip install 'rt-sentiment[torch]'`"
        )
    return possible


def has_torch() -> bool:
    """Return whether PyTorch and transformers are installed. Importing them to find out would take seconds."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))


def has_gpu() -> bool:
    """Return whether there is an NVIDIA device that this process may use."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return False
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()
