"""Protocols of others, so that their clients work with this service. Each has a setting that switches it off."""

from .huggingface import HUGGING_FACE
from .open_inference import OPEN_INFERENCE
from .protocol import PlainError, Protocol

__all__ = ["HUGGING_FACE", "OPEN_INFERENCE", "PlainError", "Protocol"]
