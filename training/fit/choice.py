"""What to start from, and how to train: chosen from the data, with the reasons.

The numbers come from sweeps over the sets in perf/training; docs/training.md explains how to choose otherwise.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.inference.tokenizer import Tokenizer
from training.data import LABELS, Example, labels_of, meaning
from training.errors import UsageError
from training.fit.recipe import Recipe, read_recipe

EMBEDDED, ENCODER = "sentiment-en", "encoder"  # names of what a training can start from

# 1 to 10, alone or with a word, as in `4 stars` and `4/5`.
_RATING = re.compile(r"(?:10|[0-9])(?: ?/ ?(?:5|10)| ?stars?| ?★)?", re.IGNORECASE)
_LENGTHS = (32, 64, 96, 128, 192, 256)
_COVERED = 98  # percent of the texts that are read whole, if they are not longer than the last of these
_IMBALANCE = 5  # times that the most frequent label has more rows than the rarest
_MANY_ROWS = 5000
_FEW_ROWS = 200
_TRAININGS = 3  # with few rows, those with other seeds are up to seven points apart
_LAYER_DECAY = 0.75  # what lower layers know of words that few rows do not have should change least
_EVALUATIONS, _PATIENCE = 10, 4
# A new head is random. As long as it is, the layers below it learn from it what spoils their knowledge of other words.
_HEAD_FIRST, _HEAD_RATE = 0.25, 10.0


@dataclass(frozen=True, slots=True)
class Preset:
    """A named way to train. What it leaves open is chosen from the data."""

    description: str
    start: str | None = None
    steps: float = 1.0  # times the number that is chosen
    settings: dict[str, Any] = field(default_factory=dict)


PRESETS = {
    "auto": Preset("choose everything from the data"),
    "sentiment": Preset("start from the embedded model, which knows praise, complaints and plain facts", EMBEDDED),
    "topics": Preset("start from the plain encoder: for labels that are not about sentiment", ENCODER),
    "quick": Preset("a third of the steps, to see whether everything works", steps=1 / 3),
    "thorough": Preset("two and a half times the steps, and no early stop", steps=2.5, settings={"patience": 0}),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the choice depends on."""

    rows: int
    counts: dict[str, int]  # rows of each label; those with a teacher's scores instead of a label are not counted
    tokens: int  # that most texts have at most


@dataclass(frozen=True, slots=True)
class Choice:
    """What to start from, the settings, and a sentence for each decision."""

    start: str
    recipe: Recipe
    reasons: tuple[str, ...]


def facts_of(examples: Sequence[Example], tokenizer: Tokenizer) -> Facts:
    counts = Counter(example.label for example in examples)
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_many([example.text for example in examples])]
    by_label = {label: counts[label] for label in labels_of(examples)}
    return Facts(len(examples), by_label, int(np.percentile(lengths, _COVERED)) if lengths else 0)


def choose(
    facts: Facts,
    preset: str = "auto",
    start: str | None = None,
    *,
    base_labels: Collection[str] = LABELS,
    **given: Any,
) -> Choice:
    """Choose how to train on data with these facts. `given` are settings that are not to be chosen.

    `base_labels` are those of the trained model that it starts from, if it does not start from the plain encoder.
    Raises `UsageError` for an unknown preset, and for a setting that is unknown or invalid.
    """
    if preset not in PRESETS:
        raise UsageError(f"unknown preset {preset}; use {', '.join(PRESETS)}")
    named = PRESETS[preset]
    begin, why = (start, "as given") if start else (named.start, f"preset {preset}") if named.start else _start(facts)
    batch_size = _batch_size(facts)
    # A model that is not new to the labels needs fewer and smaller steps; the more labels are new, the more it needs.
    is_new = begin == ENCODER or not _keys(facts.counts) <= _keys(base_labels)
    wanted = (150 + 5 * len(facts.counts) if is_new else 200) * named.steps
    epoch_steps = max(1, math.ceil(facts.rows / given.get("batch_size", batch_size)))
    epochs = min(_most_epochs(facts), max(_least_epochs(facts, named.steps), math.ceil(wanted / epoch_steps)))
    max_tokens = next((length for length in _LENGTHS if length >= facts.tokens), _LENGTHS[-1])
    uneven = max(facts.counts.values(), default=0) >= _IMBALANCE * max(1, min(facts.counts.values(), default=0))
    chosen: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": _learning_rate(facts, begin),
        "head_first": _HEAD_FIRST if is_new else 0.0,
        "head_rate": _HEAD_RATE if is_new else 1.0,
        "train_embeddings": facts.rows >= _MANY_ROWS,
        "max_tokens": max_tokens,
        "class_weights": uneven,
        "evaluations": _EVALUATIONS,
        "patience": _PATIENCE,
        "trainings": _TRAININGS if facts.rows < _FEW_ROWS else 1,
        "layer_decay": _LAYER_DECAY if facts.rows < _FEW_ROWS and is_new else 1.0,
    }
    recipe = read_recipe(None, **(chosen | named.settings | given))
    reasons = [
        f"start: {begin} ({why})",
        f"steps: {recipe.epochs} epochs with {recipe.batch_size} texts per step, about {recipe.epochs * epoch_steps} "
        f"steps for {facts.rows} rows and {len(facts.counts)} labels",
        f"learning rate: {recipe.learning_rate:g} (a model that is trained already gets less than the plain encoder)"
        + (
            f"; {recipe.head_rate:g} times as much for the head, which is new and learns alone for the first "
            f"{100 * recipe.head_first:g} % of the steps, so that the model does not forget what it knows"
            if recipe.head_first
            else ""
        ),
        f"length: {recipe.max_tokens} tokens ({_COVERED} % of the texts have at most {facts.tokens})",
    ]
    if not recipe.train_embeddings:
        reasons.insert(
            3, "words: their embeddings stay as they are, because those of words that no row has would be left behind"
        )
    if recipe.trainings > 1:
        reasons.append(
            f"trainings: {recipe.trainings}, of which the mean is taken: with so few rows, one is a matter of luck"
        )
    if recipe.class_weights:
        low, high = (pick(facts.counts, key=facts.counts.__getitem__) for pick in (min, max))
        reasons.append(
            f"class weights: on ({high} has {facts.counts[high]} rows, {low} {facts.counts[low]}; without weights, "
            "rare labels are seldom predicted)"
        )
    return Choice(begin, recipe, tuple(reasons))


def _start(facts: Facts) -> tuple[str, str]:
    if _keys(facts.counts) <= set(LABELS):
        return EMBEDDED, "your labels are those of the embedded model, perhaps in another language"
    if all(_RATING.fullmatch(label) for label in facts.counts):
        return EMBEDDED, "your labels look like ratings, which the embedded model knows something about"
    return ENCODER, "your labels are not those of the embedded model, which learns others slowly"


def _keys(labels: Iterable[str]) -> set[str]:
    return {meaning(label) for label in labels}


def _batch_size(facts: Facts) -> int:
    return 8 if facts.rows < _FEW_ROWS else 16 if facts.rows < _MANY_ROWS else 32


def _learning_rate(facts: Facts, start: str) -> float:
    if start != ENCODER:
        return 1e-4
    # A higher one learns the training texts sooner, and phrases that are not in them worse; few rows need it.
    return 6e-4 if facts.rows < _FEW_ROWS else 1.5e-4


def _least_epochs(facts: Facts, factor: float) -> int:
    return max(1, round((4 if facts.rows < 2000 else 3 if facts.rows < 20_000 else 2) * min(1, factor)))


def _most_epochs(facts: Facts) -> int:
    return 40 if facts.rows < 2000 else 20
