"""Models and how they run: artifacts, tokenizers, runners and backends. Does not depend on HTTP."""

from .artifact import Artifact, locate, open_artifact
from .backends import Backend, choices, has_gpu, has_torch
from .files import MANIFEST, SIGNATURE, open_files, parse_manifest
from .fingerprint import fingerprint_of
from .model import Model, load_model
from .runner import Runner
from .text import expands_beyond, normalise
from .tokenizer import Tokenizer
from .windows import average

__all__ = [
    "MANIFEST",
    "SIGNATURE",
    "Artifact",
    "Backend",
    "Model",
    "Runner",
    "Tokenizer",
    "average",
    "choices",
    "expands_beyond",
    "fingerprint_of",
    "has_gpu",
    "has_torch",
    "load_model",
    "locate",
    "normalise",
    "open_artifact",
    "open_files",
    "parse_manifest",
]
