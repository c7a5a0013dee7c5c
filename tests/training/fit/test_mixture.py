"""The mixture of sets: which texts are trained on, how often, and with which targets."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from app.inference.artifact import open_artifact
from app.inference.tokenizer import Tokenizer
from training.data import LABELS, Example
from training.fit.mixture import Row, batches, class_weights, epoch, lowest_loss, plan, steps_per_epoch, tokenise
from training.fit.recipe import Recipe


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(open_artifact("sentiment-en").directory, max_tokens=10**6)


def row(ids: Sequence[int]) -> Row:
    return Row(np.array(ids, np.int32), np.array([1, 0, 0], np.float32), np.ones(3, np.bool_))


def targets(examples: list[Example], tokenizer: Tokenizer, recipe: Recipe) -> list[list[float]]:
    sets = tokenise(examples, LABELS, tokenizer, recipe)
    return [pytest.approx(each.target.tolist()) for rows in sets.values() for each in rows]


def test_a_label_is_smoothed_over_the_labels_of_its_set(tokenizer: Tokenizer) -> None:
    two = [Example("Good.", "positive", "two"), Example("Bad.", "negative", "two")]
    assert targets(two, tokenizer, Recipe(label_smoothing=0.1)) == [[0.05, 0, 0.95], [0.95, 0, 0.05]]
    rows = tokenise(two, LABELS, tokenizer, Recipe())["two"]
    assert [each.open.tolist() for each in rows] == [[True, False, True]] * 2


def test_a_set_with_one_label_is_trained_against_all_labels(tokenizer: Tokenizer) -> None:
    """One file per class is a common layout."""
    sets = tokenise([Example("Good.", "positive", "positive")], LABELS, tokenizer, Recipe(label_smoothing=0))
    (only,) = sets["positive"]
    assert only.open.all()
    assert only.target.tolist() == [0, 0, 1]


def test_scores_of_a_teacher_are_mixed_with_the_label_if_any(tokenizer: Tokenizer) -> None:
    scores = {"negative": 0.1, "neutral": 0.3, "positive": 0.6}
    examples = [Example("Good.", "positive", "set", scores), Example("Hm.", None, "set", scores)]
    assert targets(examples, tokenizer, Recipe(gold=0.25)) == [[0.075, 0.225, 0.7], [0.1, 0.3, 0.6]]
    rows = tokenise(examples, LABELS, tokenizer, Recipe())["set"]
    assert all(each.open.all() for each in rows)


def test_a_label_without_a_score_has_a_target_of_0(tokenizer: Tokenizer) -> None:
    scores = {"negative": 0.4, "positive": 0.6}
    assert targets([Example("Good.", None, "set", scores)], tokenizer, Recipe()) == [[0.4, 0, 0.6]]


def test_a_text_without_label_and_scores_is_rejected(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="set: a text has neither a label nor scores"):
        tokenise([Example("Good.", None, "set")], LABELS, tokenizer, Recipe())


def test_a_weight_is_the_number_of_uses_per_epoch() -> None:
    recipe = Recipe(weights={"double": 2.5, "half": 0.5})
    sets = {name: [row([index, index]) for index in range(100)] for name in ("any", "double", "half")}
    rows = epoch(sets, recipe, random.Random(0))
    assert len(rows) == 100 + 250 + 50
    assert steps_per_epoch(sets, recipe) == 13


def test_a_fraction_of_a_set_is_drawn_again_in_each_epoch() -> None:
    recipe = Recipe(weights={"half": 0.5})
    sets = {"half": [row([index]) for index in range(100)]}
    rng = random.Random(0)
    one, two = ({int(each.ids[0]) for each in epoch(sets, recipe, rng)} for _ in range(2))
    assert len(one) == len(two) == 50
    assert one != two


def test_sets_with_weight_0_are_left_out(tokenizer: Tokenizer) -> None:
    recipe = Recipe(weights={"without": 0})
    assert tokenise([Example("Text.", "other", "without")], LABELS, tokenizer, recipe) == {}


def test_a_long_text_is_cut_to_its_beginning_or_its_end() -> None:
    recipe = Recipe(max_tokens=32)
    ends = {tuple(epoch({"any": [row(range(1000))]}, recipe, random.Random(seed))[0].ids) for seed in range(20)}
    assert ends == {tuple(range(30)), tuple(range(970, 1000))}


def test_batches_hold_every_row_once_with_little_padding() -> None:
    rng = random.Random(0)
    rows = [row(range(rng.randint(1, 60))) for _ in range(3000)]
    groups = list(batches(list(rows), 32, rng))
    assert sorted(len(each.ids) for group in groups for each in group) == sorted(len(each.ids) for each in rows)
    padded = sum(max(len(each.ids) for each in group) * len(group) for group in groups)
    assert padded < 1.05 * sum(len(each.ids) for each in rows)


def test_a_plan_can_start_at_any_batch() -> None:
    recipe = Recipe(epochs=3, batch_size=8, weights={"half": 0.5})
    sets = {name: [row([index]) for index in range(50)] for name in ("any", "half")}

    def batches_of(skip: int) -> list[list[int]]:
        return [[int(each.ids[0]) for each in rows] for rows in plan(sets, recipe, skip)]

    everything = batches_of(0)
    assert len(everything) == 3 * steps_per_epoch(sets, recipe) == 30
    assert everything[:10] != everything[10:20]
    for skip in (1, 10, 25, 30):
        assert batches_of(skip) == everything[skip:]


def test_class_weights_make_up_for_rare_labels(tokenizer: Tokenizer) -> None:
    labels = ["negative"] * 90 + ["neutral"] * 9 + ["positive"]
    rows = [Example(f"Text {number}.", label, "set") for number, label in enumerate(labels)]
    recipe = Recipe(label_smoothing=0)
    weights = class_weights(tokenise(rows, LABELS, tokenizer, recipe), recipe)
    mean = 100 / 3
    assert weights.tolist() == pytest.approx([mean / 90, mean / 9, 10])  # the last would be 33


def test_a_set_that_is_used_less_counts_less_in_the_class_weights(tokenizer: Tokenizer) -> None:
    rows = [Example("Good.", "positive", "a"), Example("Bad.", "negative", "b"), Example("So so.", "neutral", "c")]
    recipe = Recipe(label_smoothing=0, weights={"b": 0.5})
    sets = tokenise(rows, LABELS, tokenizer, recipe)
    negative, neutral, positive = class_weights(sets, recipe).tolist()
    assert negative == pytest.approx(2 * neutral)
    assert neutral == positive


@pytest.mark.parametrize(("smoothing", "lowest"), [(0.0, 0.0), (0.05, 0.1169)])
def test_label_smoothing_has_a_lowest_loss(tokenizer: Tokenizer, smoothing: float, lowest: float) -> None:
    rows = [Example("Good.", "positive", "two"), Example("Bad.", "negative", "two")]
    recipe = Recipe(label_smoothing=smoothing)
    assert lowest_loss(tokenise(rows, LABELS, tokenizer, recipe), recipe) == pytest.approx(lowest, abs=1e-3)
