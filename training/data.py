"""The mixture: weigh the sets, mix them, cut it into batches of like length."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.tokenizer import Tokenizer
from training.examples import LABELS, Example

# How many times a set is seen per epoch; 1 where nothing is said. A fraction takes another random part each epoch.
# GoEmotions marks emotions rather than polarity, sst_cased's neutral class is poor, VADER's news is about the topic
# more than the tone; DynaSent is small and its neutral class is the best there is.
WEIGHTS = {"goemotions_train": 0.3, "sst_cased_train_3class": 0.0, "vader_nyt": 0.5, "dynasent_r1_dev": 3.0}


@dataclass(frozen=True, slots=True)
class Row:
    """A tokenised example: token ids without the two special ones, and the index of its label."""

    ids: Sequence[int]
    label: int


def tokenise(examples: Sequence[Example], tokenizer: Tokenizer) -> dict[str, list[Row]]:
    """Tokenise `examples`, grouped by the set they come from."""
    rows: dict[str, list[Row]] = {}
    encodings = tokenizer.encode_many([example.text for example in examples])
    for example, encoding in zip(examples, encodings, strict=True):
        row = Row(encoding.ids[1:-1], LABELS.index(example.label))
        rows.setdefault(example.source, []).append(row)
    return rows


def epoch(sets: dict[str, list[Row]], max_tokens: int, rng: random.Random) -> list[Row]:
    """One epoch's rows: each set as often as `WEIGHTS` says, long texts as one random window each."""
    rows: list[Row] = []
    for source, members in sets.items():
        whole, part = divmod(WEIGHTS.get(source, 1.0), 1)
        rows += members * int(whole) + rng.sample(members, int(len(members) * part))
    return [_window(row, max_tokens - 2, rng) for row in rows]


def _window(row: Row, size: int, rng: random.Random) -> Row:
    if len(row.ids) <= size:
        return row
    start = rng.randrange(len(row.ids) - size + 1)
    return Row(row.ids[start : start + size], row.label)


def batches(rows: list[Row], size: int, rng: random.Random) -> Iterator[list[Row]]:
    """Shuffle, then sort within pools of 50 batches: hardly any padding, and still a random order of batches."""
    rng.shuffle(rows)
    groups: list[list[Row]] = []
    for start in range(0, len(rows), size * 50):
        pool = sorted(rows[start : start + size * 50], key=lambda row: len(row.ids))
        groups += [pool[i : i + size] for i in range(0, len(pool), size)]
    rng.shuffle(groups)
    yield from groups
