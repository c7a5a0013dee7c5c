"""How texts lie in the rows of a batch: one in each, padded, or several in each where the model keeps them apart."""

import heapq
from collections.abc import Sequence

import numpy as np

from ..types import Batch, Encoding

PACKS = "texts_per_row"  # in the metadata of a graph that reads rows of several texts (onnx_export/pack.py)
# A row of many short texts is wasteful: each token is held against all others of its row. In a row of so many tokens
# that costs as much as all else. As seen of the embedded model on a CPU, 49 µs a token of a text of 128, and 74 of 512;
# wider models, for which it is more, get rows that are shorter than they need be.
_ATTENTION_TOKENS = 600


def pad(encodings: Sequence[Encoding], pad_id: int) -> Batch:
    """Stack encodings into a batch as wide as the longest of them, a text a row."""
    longest = max(1, *map(len, encodings))
    input_ids = np.full((len(encodings), longest), pad_id, dtype=np.int64)
    attention_mask = np.zeros_like(input_ids)
    for row, encoding in enumerate(encodings):
        input_ids[row, : len(encoding)] = encoding.ids
        attention_mask[row, : max(1, len(encoding))] = 1  # even a text without any token is a text
    return Batch(input_ids, attention_mask)


def pack(encodings: Sequence[Encoding], pad_id: int, rows: int = 0) -> tuple[Batch, list[int]]:
    """Lay encodings into `rows` of about the same length (0: as many as cost least), none empty.

    Returns also the place of each text's logits.

    The mask has k for tokens of the k-th text of a row. The longest goes first, into the row that is shortest by then
    (Graham 1969, longest processing time).
    """
    lengths = [max(1, len(encoding)) for encoding in encodings]
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    members, width = _lay(lengths, order, rows) if rows else _cheapest(lengths, order)
    input_ids = np.full((len(members), width), pad_id, dtype=np.int64)
    attention_mask = np.zeros_like(input_ids)
    places = [0] * len(lengths)
    place = 0
    for row, texts in enumerate(members):
        start = 0
        for number, text in enumerate(texts, 1):
            end = start + lengths[text]
            input_ids[row, start : start + len(encodings[text])] = encodings[text].ids
            attention_mask[row, start:end] = number
            places[text] = place
            start = end
            place += 1
    return Batch(input_ids, attention_mask), places


def _lay(lengths: Sequence[int], order: Sequence[int], rows: int) -> tuple[list[list[int]], int]:
    """The texts of each row, and the tokens of the longest row."""
    members: list[list[int]] = [[] for _ in range(rows)]
    filled = [(0, row) for row in range(rows)]
    for text in order:
        tokens, row = filled[0]
        members[row].append(text)
        heapq.heapreplace(filled, (tokens + lengths[text], row))
    return members, max(filled)[0]


def _cheapest(lengths: Sequence[int], order: Sequence[int]) -> tuple[list[list[int]], int]:
    # More rows than the longest text fits into all tokens hold hardly anything more but padding.
    useful = sum(lengths) // max(lengths) + 1
    found = [_lay(lengths, order, rows) for rows in {*range(1, min(useful, len(lengths)) + 1), len(lengths)}]
    return min(found, key=lambda laid: len(laid[0]) * laid[1] * (1 + laid[1] / _ATTENTION_TOKENS))
