"""The contract of a backend. docs/backends.md shows how to write one."""

from typing import Protocol

from ...types import Batch, FloatArray


class Backend(Protocol):
    """Runs a model on batches.

    The constructor gets `(artifact, *, device, precision, slots)` and loads the model. `run` is called from `slots`
    threads at once.
    """

    name: str  # "onnx", "torch", "mock", …
    device: str  # "cpu", "cuda"
    precision: str  # "int8", "fp32", "bf16", …
    slots: int  # batches that run at the same time
    skips_padding: bool  # whether padding costs next to nothing, so that texts of any lengths may share a batch

    def run(self, batch: Batch) -> FloatArray:
        """Return the logits of `batch`: float32 of shape (texts, labels), texts in the order of their rows.

        Must be thread-safe. An exception means that the whole batch failed; the caller runs it again in parts.
        """
        ...
