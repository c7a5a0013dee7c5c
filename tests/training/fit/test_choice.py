"""What is chosen from the data, and why."""

import pytest

from app.inference.artifact import open_artifact
from app.inference.tokenizer import Tokenizer
from training.data import Example
from training.fit.choice import PRESETS, Facts, choose, facts_of

THREE = {"negative": 100, "neutral": 100, "positive": 100}


def facts(counts: dict[str, int], tokens: int = 20) -> Facts:
    return Facts(sum(counts.values()), counts, tokens)


@pytest.mark.parametrize(
    ("labels", "start"),
    [
        (("negative", "neutral", "positive"), "sentiment-en"),
        (("Positive", "NEGATIVE"), "sentiment-en"),
        (("1", "2", "3", "4", "5"), "sentiment-en"),
        (("1 star", "5 stars"), "sentiment-en"),
        (("3/5", "4/5"), "sentiment-en"),
        (("refund", "delivery"), "encoder"),
        (("positive", "negative", "spam"), "encoder"),
        (("positiv", "negativ"), "sentiment-en"),
        (("neg", "neu", "pos"), "sentiment-en"),
        (("2024", "2025"), "encoder"),
    ],
)
def test_the_start_depends_on_the_labels(labels: tuple[str, ...], start: str) -> None:
    choice = choose(facts(dict.fromkeys(labels, 50)))
    assert choice.start == start
    assert choice.reasons[0].startswith(f"start: {start} (your labels ")


def test_new_labels_get_larger_steps_and_a_head_that_learns_first() -> None:
    known, new = choose(facts(THREE)), choose(facts({f"topic {label}": rows for label, rows in THREE.items()}))
    assert new.recipe.learning_rate > known.recipe.learning_rate
    assert (new.recipe.head_first, new.recipe.head_rate) == (0.25, 10)
    assert (known.recipe.head_first, known.recipe.head_rate) == (0, 1)
    assert "10 times as much for the head, which is new and learns alone for the first 25 %" in new.reasons[2]
    assert "head" not in known.reasons[2]


def test_the_more_labels_are_new_the_more_steps_there_are() -> None:
    few, many = ({f"topic {number}": 600 // labels for number in range(labels)} for labels in (5, 40))
    assert choose(facts(few)).recipe.epochs < choose(facts(many)).recipe.epochs


def test_few_rows_leave_the_embeddings_of_words_as_they_are() -> None:
    few, many = choose(facts(THREE)), choose(facts(dict.fromkeys(THREE, 2000)))
    assert not few.recipe.train_embeddings
    assert many.recipe.train_embeddings
    assert few.reasons[3].startswith("words: their embeddings stay as they are")
    assert "words:" not in "".join(many.reasons)


@pytest.mark.parametrize(("rows", "labels"), [(100, 2), (700, 12), (5000, 40), (100_000, 3), (100_000, 77)])
def test_the_number_of_steps_is_sensible_for_any_number_of_rows(rows: int, labels: int) -> None:
    recipe = choose(facts({f"label {number}": rows // labels for number in range(labels)})).recipe
    steps = recipe.epochs * rows / recipe.batch_size
    assert steps >= 150
    assert recipe.epochs <= 40
    assert rows < 20_000 or recipe.epochs <= 3


def test_long_texts_get_more_tokens_up_to_a_limit() -> None:
    assert [choose(facts(THREE, tokens)).recipe.max_tokens for tokens in (9, 65, 150, 4000)] == [32, 96, 192, 256]


def test_a_rare_label_turns_class_weights_on_and_says_so() -> None:
    even, uneven = choose(facts(THREE)), choose(facts(THREE | {"neutral": 8}))
    assert not even.recipe.class_weights
    assert uneven.recipe.class_weights
    assert "positive has 100 rows, neutral 8" in uneven.reasons[-1].replace("negative", "positive")


def test_what_is_given_is_not_chosen() -> None:
    choice = choose(facts(THREE), start="runs/a/checkpoint", learning_rate=1e-5, epochs=1, class_weights=True)
    assert choice.start == "runs/a/checkpoint"
    assert (choice.recipe.learning_rate, choice.recipe.epochs, choice.recipe.class_weights) == (1e-5, 1, True)
    assert "as given" in choice.reasons[0]


def test_presets_change_the_start_or_the_number_of_steps() -> None:
    epochs = {name: choose(facts(THREE), name).recipe.epochs for name in PRESETS}
    assert epochs["quick"] < epochs["auto"] < epochs["thorough"]
    assert choose(facts(THREE), "topics").start == "encoder"
    assert choose(facts({"a": 50, "b": 50}), "sentiment").start == "sentiment-en"
    assert choose(facts(THREE), "thorough").recipe.patience == 0
    with pytest.raises(ValueError, match="unknown preset best; use auto, sentiment"):
        choose(facts(THREE), "best")


@pytest.mark.parametrize(
    ("setting", "complaint"), [({"epochs": 0}, "epochs: .*greater than"), ({"epoch": 3}, "epoch: unknown setting")]
)
def test_a_setting_that_is_given_is_checked(setting: dict[str, int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        choose(facts(THREE), **setting)


def test_rows_with_the_scores_of_a_teacher_count_as_rows() -> None:
    examples = [Example(f"text {number}", None, "set", {"a": 0.5, "b": 0.5}) for number in range(300)]
    found = facts_of(examples, Tokenizer.load(open_artifact("sentiment-en").directory, 512))
    assert (found.rows, found.counts) == (300, {"a": 0, "b": 0})
    assert choose(found).recipe.epochs < 40


def test_only_a_checkpoint_without_the_labels_has_a_head_that_is_new() -> None:
    topics = facts({"refund": 100, "delivery": 100})
    known, new = (choose(topics, start="runs/a", base_labels=labels) for labels in (("Refund", "delivery"), ("a", "b")))
    assert (known.recipe.head_first, new.recipe.head_first) == (0, 0.25)
    assert choose(facts(THREE), start="encoder").recipe.head_first == 0.25
