"""Which evaluation is the best, and when a training is over."""

from typing import Any

import pytest

from training.fit.selection import best, is_over


def evaluation(step: int, macro_f1: float, loss: float = 1.0, margin: float = 0.0) -> dict[str, Any]:
    return {"step": step, "dev": {"a": {"macro_f1": macro_f1, "loss": loss, "margin": margin}}}


def test_the_highest_macro_f1_wins_and_not_the_last() -> None:
    history = [{"step": 5, "loss": 0.1}, evaluation(10, 0.967), evaluation(20, 0.947), evaluation(30, 0.960)]
    assert best(history) is history[1]
    assert best(history[:1]) is None


def test_of_equal_ones_the_lower_loss_wins_and_then_the_first() -> None:
    history = [evaluation(10, 0.9, 0.5), evaluation(20, 0.9, 0.4), evaluation(30, 0.9, 0.4)]
    assert best(history) is history[1]


def test_of_those_within_the_margin_of_error_the_last_wins() -> None:
    scores = [(10, 1.0), (20, 0.95), (30, 0.8), (40, 0.92), (50, 0.85)]
    history = [evaluation(step, score, margin=0.09) for step, score in scores]
    assert best(history) is history[3]
    assert best([evaluation(step, score, margin=0.01) for step, score in scores]) == evaluation(10, 1.0, margin=0.01)
    assert not is_over(history, 2)
    assert is_over([*history, evaluation(60, 0.9)], 2)


def test_each_set_counts_as_much_and_all_sets_together_do_not_count_again() -> None:
    first, second = evaluation(10, 0.9), evaluation(20, 0.8)
    first["dev"] |= {"b": {"macro_f1": 0.6, "loss": 1}, "all": {"macro_f1": 1.0, "loss": 0}}
    second["dev"] |= {"b": {"macro_f1": 0.8, "loss": 1}, "all": {"macro_f1": 0.1, "loss": 9}}
    assert best([first, second]) is second


@pytest.mark.parametrize(
    ("scores", "patience", "over"),
    [
        ([], 2, False),
        ([0.5, 0.9, 0.8], 2, False),
        ([0.5, 0.9, 0.8, 0.7], 2, True),
        ([0.5, 0.9, 0.8, 0.95], 2, False),
        ([0.9, 0.8, 0.7, 0.6, 0.5], 0, False),
    ],
)
def test_a_training_is_over_after_some_evaluations_without_a_better_one(
    scores: list[float], patience: int, over: bool
) -> None:
    assert is_over([evaluation(step, score) for step, score in enumerate(scores)], patience) is over
