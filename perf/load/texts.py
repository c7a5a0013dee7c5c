"""Synthetic sentences: all different, with the lengths of real reviews."""

import random

_WORDS = (
    "the a this that film book phone hotel room service staff food story actors screen battery price delivery plot "
    "and but or because although while with without very quite really hardly never always often good bad great poor "
    "slow quick cold warm loud quiet funny dull charming broken fresh stale kind rude was is were feels looks sounds "
    "tastes seems arrived works failed stopped again today yesterday twice for in on of to from my our their his her"
).split()


def sentences(number: int, seed: int = 11) -> list[str]:
    """Return `number` different sentences of 5 to 45 words, 20 on average, as in the dev set of SST-2."""
    rng = random.Random(seed)
    lengths = (min(45, max(5, round(rng.gammavariate(4.2, 4.6)))) for _ in range(number))
    return [f"{' '.join(rng.choices(_WORDS, k=length))} {index}." for index, length in enumerate(lengths)]


def of_length(number: int, tokens: int, seed: int = 11) -> list[str]:
    """Return `number` different texts of about `tokens` tokens each. Each word is one token."""
    rng = random.Random(seed)
    return [f"{' '.join(rng.choices(_WORDS, k=max(1, tokens - 5)))} {index}." for index in range(number)]
