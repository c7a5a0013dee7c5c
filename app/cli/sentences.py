"""Made-up sentences to measure with. All of them are different, so that no cache helps."""

import random
from collections.abc import Iterator
from itertools import count

_WORDS = (
    "the a this that film book phone hotel room service staff food story actors screen battery price delivery plot and "
    "but or because very quite really hardly never always often good bad great poor slow quick cold warm funny dull "
    "fresh kind rude was is were feels looks sounds works failed stopped again today twice for in on of to my our"
).split()


def sentences() -> Iterator[str]:
    """Yield sentences of 5 to 45 words, 20 on average."""
    rng = random.Random(11)
    for number in count():
        yield sentence(rng, min(45, max(5, round(rng.gammavariate(4.2, 4.6)))), number)


def sentence(rng: random.Random, words: int, number: int) -> str:
    """Return a sentence of so many words that ends with the number."""
    return f"{' '.join(rng.choices(_WORDS, k=words))} {number}."
