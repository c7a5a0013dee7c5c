"""A backend whose process dies of the text "kill", as it would of a bug in a library."""

import os
from typing import Any

from app.inference.artifact import Artifact
from app.inference.backends.onnx import OnnxBackend
from app.inference.tokenizer import Tokenizer
from app.types import Batch, FloatArray


class LethalBackend(OnnxBackend):
    def __init__(self, artifact: Artifact, **options: Any) -> None:
        self._lethal = Tokenizer.load(artifact.directory, artifact.max_tokens).encode("kill").ids
        super().__init__(artifact, **options)

    def run(self, batch: Batch) -> FloatArray:
        self._die_of(batch)
        return super().run(batch)

    def run_part(self, part: int, batch: Batch, states: FloatArray | None) -> tuple[FloatArray, FloatArray]:
        self._die_of(batch)
        return super().run_part(part, batch, states)

    def _die_of(self, batch: Batch) -> None:
        if any(
            list(window) == list(self._lethal)
            for row in batch.input_ids
            for window in zip(row, row[1:], row[2:], strict=False)
        ):
            os._exit(1)
