"""Layout of a batch: one text per row, padded to the longest."""

from collections.abc import Sequence

import numpy as np

from ..types import Batch, Encoding

# Metadata key of ONNX graphs that compute nothing for padding, except in attention (see onnx_export/unpad.py).
SKIPS_PADDING = "skips_padding"

# The length of a text, in tokens, at which attention costs as much as everything else in the model. Measured with the
# embedded model on a CPU: 49 µs per token at a length of 128, 74 µs at 512.
_ATTENTION_TOKENS = 600
_RUN_TOKENS = 16  # what a run costs besides its tokens, in tokens


def pad(encodings: Sequence[Encoding], pad_id: int) -> Batch:
    """Stack encodings into a batch with one text per row, padded to the longest."""
    longest = max(1, *map(len, encodings))
    input_ids = np.full((len(encodings), longest), pad_id, dtype=np.int64)
    attention_mask = np.zeros_like(input_ids)
    for row, encoding in enumerate(encodings):
        input_ids[row, : len(encoding)] = encoding.ids
        attention_mask[row, : max(1, len(encoding))] = 1  # a text without tokens must not be all padding
    return Batch(input_ids, attention_mask)


def split(lengths: Sequence[int]) -> list[list[int]]:
    """Split the texts of a batch into runs, so that attention over padding costs less than another run would.

    For models that compute nothing else for padding. Returns the indices of the texts of each run, longest first.
    """
    runs: list[list[int]] = []
    longest, wasted = 0, 0.0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        wasted += (longest**2 - lengths[index] ** 2) / _ATTENTION_TOKENS
        if not runs or wasted > _RUN_TOKENS:
            runs.append([])
            longest, wasted = lengths[index], 0.0
        runs[-1].append(index)
    return runs
