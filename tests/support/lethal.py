"""A backend whose process dies of the word "kill", as it would of a bug in a library."""

import os
from typing import Any

from app.inference.artifact import Artifact
from app.inference.backends.onnx import OnnxBackend
from app.inference.tokenizer import Tokenizer
from app.types import Batch, FloatArray


class LethalBackend(OnnxBackend):
    def __init__(self, artifact: Artifact, **options: Any) -> None:
        super().__init__(artifact, **options)
        self._lethal = Tokenizer.load(artifact.directory, artifact.max_tokens).encode("kill").ids[1]

    def run(self, batch: Batch) -> FloatArray:
        if (batch.input_ids == self._lethal).any():
            os._exit(1)
        return super().run(batch)
