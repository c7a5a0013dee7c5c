"""The contract of a backend. docs/backends.md shows how to write one."""

from typing import Protocol, runtime_checkable

from ...types import Batch, FloatArray
from ..exits import Exits


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


@runtime_checkable
class BackendWithExits(Backend, Protocol):
    """A backend that can also run the parts of a model one by one."""

    exits: Exits | None  # None: this model has no parts

    def run_part(self, part: int, batch: Batch, states: FloatArray | None) -> tuple[FloatArray, FloatArray]:
        """Run a part on a batch that has been through those before it, which left `states`; None for the first part.

        Returns the logits of the head at its end, as `run` does, and the new states. States are float32 of shape
        (tokens, width), without padding, texts in the order of their rows; there are none after the last part.
        """
        ...
