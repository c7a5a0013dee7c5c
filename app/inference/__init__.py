"""Models and how they run: artifacts, tokenizers, runners and backends. Does not depend on HTTP."""

from .artifact import Artifact, find_directory, locate, open_artifact
from .backends import Backend, choices, has_gpu, has_torch
from .development import CONFIDENCE_EDGES, Development, Histogram, read_development
from .files import MANIFEST, SIGNATURE, open_files, parse_manifest
from .fingerprint import fingerprint_of
from .golden import GoldenResult, GoldenText, answer_golden, compare_golden, read_golden
from .model import Model, load_model
from .runner import Runner
from .text import expands_beyond, normalise
from .tokenizer import Tokenizer
from .windows import average

__all__ = [
    "CONFIDENCE_EDGES",
    "MANIFEST",
    "SIGNATURE",
    "Artifact",
    "Backend",
    "Development",
    "GoldenResult",
    "GoldenText",
    "Histogram",
    "Model",
    "Runner",
    "Tokenizer",
    "answer_golden",
    "average",
    "choices",
    "compare_golden",
    "expands_beyond",
    "find_directory",
    "fingerprint_of",
    "has_gpu",
    "has_torch",
    "load_model",
    "locate",
    "normalise",
    "open_artifact",
    "open_files",
    "parse_manifest",
    "read_development",
    "read_golden",
]
