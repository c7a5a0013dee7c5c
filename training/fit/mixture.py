"""The mixture of sets: tokenise them, sample them by weight, and form batches of similar length."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.inference.tokenizer import Tokenizer
from training.data import Example
from training.errors import InputError
from training.fit.recipe import Recipe

_HIGHEST_WEIGHT = 10.0  # a label with two rows must not decide every step that it is in


@dataclass(frozen=True, slots=True)
class Row:
    """A tokenised example.

    `ids` are its token ids without special tokens. `target` is the probability of each label. `open` marks the labels
    that count in the loss: a set without neutral texts does not show how neutral its texts are.
    """

    ids: NDArray[np.int32]
    target: NDArray[np.float32]
    open: NDArray[np.bool_]


def tokenise(
    examples: Sequence[Example], labels: Sequence[str], tokenizer: Tokenizer, recipe: Recipe
) -> dict[str, list[Row]]:
    """Tokenise `examples` by set. Sets with a weight of 0 are left out."""
    sets: dict[str, list[Row]] = {}
    kept = [example for example in examples if recipe.weight(example.source) > 0]
    present = _labels_of_sets(kept, labels)
    encodings = tokenizer.encode_many([example.text for example in kept])
    for example, encoding in zip(kept, encodings, strict=True):
        target, open_ = _target(example, labels, present[example.source], recipe)
        sets.setdefault(example.source, []).append(Row(np.array(encoding.ids[1:-1], np.int32), target, open_))
    return sets


def _labels_of_sets(examples: Sequence[Example], labels: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    present: dict[str, NDArray[np.bool_]] = {}
    for example in examples:
        mask = present.setdefault(example.source, np.zeros(len(labels), np.bool_))
        if example.label is not None:
            mask[labels.index(example.label)] = True
    # For a set with a single label all labels count, or the set would have no effect.
    return {source: mask if mask.sum() > 1 else np.ones_like(mask) for source, mask in present.items()}


def _target(
    example: Example, labels: Sequence[str], present: NDArray[np.bool_], recipe: Recipe
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the label, smoothed over the labels of its set, or a teacher's scores, mixed with the label if any."""
    gold = np.array([label == example.label for label in labels], np.float32)
    if example.scores is None:
        if example.label is None:
            raise InputError(f"{example.source}: a text has neither a label nor scores")
        smooth = recipe.label_smoothing
        return (1 - smooth) * gold + smooth * present.astype(np.float32) / present.sum(), present
    scores = np.array([example.scores.get(label, 0.0) for label in labels], np.float32)
    share = recipe.gold if example.label is not None else 0.0
    return share * gold + (1 - share) * scores, np.ones(len(labels), np.bool_)


def class_weights(sets: Mapping[str, Sequence[Row]], recipe: Recipe) -> NDArray[np.float32]:
    """Return a weight for each label that makes up for how often it is in an epoch: at most ten times the mean."""
    counts = sum(recipe.weight(source) * np.sum([row.target for row in rows], axis=0) for source, rows in sets.items())
    weights = np.clip(np.mean(counts) / np.maximum(counts, 1e-6), None, _HIGHEST_WEIGHT)
    return np.asarray(weights, np.float32)


def lowest_loss(sets: Mapping[str, Sequence[Row]], recipe: Recipe) -> float:
    """Return the lowest mean loss that a training can reach: 0 without label smoothing and teacher's scores."""
    rows = [(recipe.weight(source), row.target) for source, members in sets.items() for row in members]
    entropies = [-(target * np.log(np.maximum(target, 1e-12))).sum() for _, target in rows]
    return float(np.average(entropies, weights=[weight for weight, _ in rows]))


def steps_per_epoch(sets: Mapping[str, Sequence[Row]], recipe: Recipe) -> int:
    """Return the number of batches, which is the same in every epoch."""
    rows = sum(int(len(members) * recipe.weight(source)) for source, members in sets.items())
    return math.ceil(rows / recipe.batch_size)


def plan(sets: Mapping[str, list[Row]], recipe: Recipe, skip: int) -> Iterator[list[Row]]:
    """Yield every batch of a training after the first `skip`. Each epoch has its own seed."""
    for number in range(skip // steps_per_epoch(sets, recipe), recipe.epochs):
        rng = random.Random(recipe.seed * 1000 + number)
        groups = batches(epoch(sets, recipe, rng), recipe.batch_size, rng)
        for index, group in enumerate(groups, number * steps_per_epoch(sets, recipe)):
            if index >= skip:
                yield group


def epoch(sets: Mapping[str, list[Row]], recipe: Recipe, rng: random.Random) -> list[Row]:
    """Return the rows of one epoch. A set with a weight of 1.5 comes once, and half of it, chosen at random, again."""
    rows: list[Row] = []
    for source, members in sets.items():
        whole, part = divmod(int(len(members) * recipe.weight(source)), len(members))
        rows += members * whole + rng.sample(members, part)
    return [_end(row, recipe.max_tokens - 2, rng) for row in rows]


def _end(row: Row, size: int, rng: random.Random) -> Row:
    """Cut a text that is too long to its beginning or its end, where people state opinions, rather than its middle."""
    if len(row.ids) <= size:
        return row
    ids = row.ids[:size] if rng.random() < 0.5 else row.ids[-size:]
    return Row(ids, row.target, row.open)


def batches(rows: list[Row], size: int, rng: random.Random) -> Iterator[list[Row]]:
    """Shuffle, then sort within pools of 50 batches: little padding, and still a random order of batches."""
    rng.shuffle(rows)
    groups: list[list[Row]] = []
    for start in range(0, len(rows), size * 50):
        pool = sorted(rows[start : start + size * 50], key=lambda row: len(row.ids))
        groups += [pool[i : i + size] for i in range(0, len(pool), size)]
    rng.shuffle(groups)
    yield from groups
