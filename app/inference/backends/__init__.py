"""Backends: the contract, ONNX Runtime, PyTorch, a mock, and the rule that chooses one."""

from .base import Backend, BackendWithExits
from .choice import Choice, choices, has_gpu, has_torch
from .loading import BACKENDS, load_backend

__all__ = ["BACKENDS", "Backend", "BackendWithExits", "Choice", "choices", "has_gpu", "has_torch", "load_backend"]
