"""How many texts become batches when nobody waits for a single one of them. Pure."""

from collections.abc import Sequence

BATCH_TOKENS = 4096  # enough for efficient batches, and few enough for the memory


def like_lengths(lengths: Sequence[int], max_texts: int, max_tokens: int = BATCH_TOKENS) -> list[list[int]]:
    """Group texts of similar length, which need little padding; return the places of each batch's texts.

    Batches have at most `max_texts` texts and, with their padding, at most `max_tokens` tokens, except for a text that
    is longer than that by itself. The longest come first, so that an estimate of the time left never grows.
    """
    batches: list[list[int]] = []
    width = 0
    for place in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if not batches or len(batches[-1]) == max_texts or width * (len(batches[-1]) + 1) > max_tokens:
            batches.append([])
            width = max(1, lengths[place])
        batches[-1].append(place)
    return batches
