"""Layout of a batch: one padded text per row, or several texts per row if the model keeps them apart."""

import heapq
from collections.abc import Sequence

import numpy as np

from ..types import Batch, Encoding

PACKS = "texts_per_row"  # metadata key of ONNX graphs that support several texts per row (see onnx_export/pack.py)

# The row length, in tokens, at which attention costs as much as everything else in the model. Attention compares each
# token with all others of its row, so very long rows are wasteful. Measured with the embedded model on a CPU: 49 µs per
# token in a row of 128 tokens, 74 µs in a row of 512. Wider models would allow longer rows than this value does.
_ATTENTION_TOKENS = 600


def pad(encodings: Sequence[Encoding], pad_id: int) -> Batch:
    """Stack encodings into a batch with one text per row, padded to the longest."""
    longest = max(1, *map(len, encodings))
    input_ids = np.full((len(encodings), longest), pad_id, dtype=np.int64)
    attention_mask = np.zeros_like(input_ids)
    for row, encoding in enumerate(encodings):
        input_ids[row, : len(encoding)] = encoding.ids
        attention_mask[row, : max(1, len(encoding))] = 1  # a text without tokens must not be all padding
    return Batch(input_ids, attention_mask)


def pack(encodings: Sequence[Encoding], pad_id: int, rows: int = 0) -> tuple[Batch, list[int]]:
    """Pack encodings into `rows` of similar length, none of them empty; 0 chooses the cheapest number of rows.

    Returns the batch and, for each text, the index of its logits. The mask is k for tokens of the k-th text of a row.
    Texts are placed longest first, each into the row that is shortest so far (longest processing time, Graham 1969).
    """
    lengths = [max(1, len(encoding)) for encoding in encodings]
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    members, width = _assign(lengths, order, rows) if rows else _cheapest(lengths, order)
    input_ids = np.full((len(members), width), pad_id, dtype=np.int64)
    attention_mask = np.zeros_like(input_ids)
    indices = [0] * len(lengths)
    index = 0
    for row, texts in enumerate(members):
        start = 0
        for number, text in enumerate(texts, 1):
            end = start + lengths[text]
            input_ids[row, start : start + len(encodings[text])] = encodings[text].ids
            attention_mask[row, start:end] = number
            indices[text] = index
            start = end
            index += 1
    return Batch(input_ids, attention_mask), indices


def _assign(lengths: Sequence[int], order: Sequence[int], rows: int) -> tuple[list[list[int]], int]:
    """Return the texts of each row and the length of the longest row."""
    members: list[list[int]] = [[] for _ in range(rows)]
    filled = [(0, row) for row in range(rows)]
    for text in order:
        tokens, row = filled[0]
        members[row].append(text)
        heapq.heapreplace(filled, (tokens + lengths[text], row))
    return members, max(filled)[0]


def _cheapest(lengths: Sequence[int], order: Sequence[int]) -> tuple[list[list[int]], int]:
    # Rows are at least as long as the longest text, so with more rows than this nearly all of the rest is padding.
    useful = sum(lengths) // max(lengths) + 1
    layouts = [_assign(lengths, order, rows) for rows in {*range(1, min(useful, len(lengths)) + 1), len(lengths)}]
    return min(layouts, key=lambda layout: _cost(len(layout[0]), layout[1]))


def _cost(rows: int, width: int) -> float:
    return rows * width * (1 + width / _ATTENTION_TOKENS)
