"""Loads a backend by name: a built-in one, or a class of the user."""

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from ...errors import ArtifactError, BackendError, SentimentError, SetupError
from ..artifact import Artifact
from .base import Backend

# Imported when chosen, so that a backend that is not used need not be installed.
BACKENDS = {
    "onnx": ".onnx:OnnxBackend",
    "torch": ".torch:TorchBackend",
    "mock": ".mock:MockBackend",
}
_MEMBERS = ("name", "device", "precision", "slots", "skips_padding", "run")


def load_backend(backend: str, artifact: Artifact, *, device: str, precision: str, slots: int) -> Backend:
    """Load `artifact` on a backend: a key of `BACKENDS`, or `package.module:Class`.

    Raises `ArtifactError` if a built-in backend cannot be imported, `SetupError` if the user's class cannot be used,
    and what its constructor raises.
    """
    is_ours = backend in BACKENDS
    backend_class = _import(backend) if is_ours else _import_own(backend)
    options = {"device": device, "precision": precision, "slots": slots}
    if not is_ours:
        try:
            inspect.signature(backend_class).bind(artifact, **options)
        except (TypeError, ValueError) as error:
            expected = "(artifact, *, device, precision, slots)"
            raise SetupError(f"the backend {backend} must be callable with {expected}: {error}") from None
    try:
        loaded: Backend = backend_class(artifact, **options)
    except SentimentError:
        raise
    except Exception as error:  # ours raise nothing else
        raise BackendError(f"the backend {backend} cannot be loaded: {type(error).__name__}: {error}") from error
    if missing := [name for name in _MEMBERS if not hasattr(loaded, name)]:
        raise SetupError(f"the backend {backend} has no attribute {', '.join(missing)}; see docs/backends.md")
    return loaded


def _import(backend: str) -> Any:
    module, name = BACKENDS[backend].split(":")
    try:
        return getattr(importlib.import_module(module, __package__), name)
    except (ImportError, OSError) as error:  # it is not installed, or a shared library is missing
        package = "rt-sentiment[torch]" if backend == "torch" else "rt-sentiment"
        is_missing = isinstance(error, ModuleNotFoundError)
        hint = f"pip install '{package}'" if is_missing else "its package is installed but broken"
        raise ArtifactError(f"the {backend} backend cannot be imported ({error}): {hint}") from error


def _import_own(backend: str) -> Any:
    module, _, name = backend.partition(":")
    if (folder := str(Path.cwd())) not in sys.path:  # a command does not have it, `python -m` does
        sys.path.append(folder)
    try:
        imported = importlib.import_module(module)
    except Exception as error:  # whatever the module does when it is imported
        reason = f"{module} cannot be imported: {type(error).__name__}: {error}"
        raise SetupError(f"the backend {backend} cannot be used: {reason}") from error
    if not hasattr(imported, name):
        raise SetupError(f"the backend {backend} cannot be used: {module} has no {name}")
    return getattr(imported, name)
