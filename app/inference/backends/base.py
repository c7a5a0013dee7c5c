"""The contract between the service and whatever runs the model: this screen, and nothing else."""

from typing import Protocol

from ...types import Batch, FloatArray


class Backend(Protocol):
    """Runs batches. Chosen at start-up, loaded by its constructor, called from `slots` threads at once."""

    name: str  # "onnx", "torch", "mock"
    device: str  # "cpu", "cuda"
    precision: str  # "int8", "fp32", "bf16", …
    slots: int  # batches that are run at the same time
    packs: bool  # whether a row of a batch may have several texts

    def run(self, batch: Batch) -> FloatArray:
        """Return the logits of `batch`: float32 of shape (texts, labels), texts in the order of their rows.

        Thread-safe. Any exception means that the whole batch failed; the caller decides what to retry.
        """
        ...
