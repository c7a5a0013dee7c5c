"""Models and what runs them: artifacts, tokenizers, runners and backends. Does not depend on HTTP."""

from .artifact import Artifact, open_artifact
from .model import Model, ModelInfo, load_model
from .runner import Runner
from .text import normalise
from .tokenizer import Tokenizer

__all__ = ["Artifact", "Model", "ModelInfo", "Runner", "Tokenizer", "load_model", "normalise", "open_artifact"]
