"""Batches for offline use, where only the total time matters."""

from collections.abc import Sequence

BATCH_TOKENS = 4096  # of a padded batch, which bounds its memory


def group_by_length(lengths: Sequence[int], max_texts: int, max_tokens: int = BATCH_TOKENS) -> list[list[int]]:
    """Group texts of similar length, which need little padding; return the indices of the texts of each batch.

    Batches have at most `max_texts` texts and, with padding, at most `max_tokens` tokens, except for a single text that
    is longer. The longest texts come first, so that an estimate of the time left never grows.
    """
    batches: list[list[int]] = []
    width = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if not batches or len(batches[-1]) == max_texts or width * (len(batches[-1]) + 1) > max_tokens:
            batches.append([])
            width = max(1, lengths[index])
        batches[-1].append(index)
    return batches
