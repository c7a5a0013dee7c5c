"""Tables for a terminal, with few and with many classes."""

import numpy as np

from training.data import Example
from training.evaluation import Report, Target, aligned, classes, confusions, evaluate_target, measure, score
from training.evaluation.tables import show_confusion


def report(classes: int, wrong: int) -> Report:
    truth = np.repeat(np.arange(classes), 10)
    predicted = truth.copy()
    predicted[:wrong] = classes - 1
    return measure(score(np.eye(classes)[predicted], truth), [f"topic {number}" for number in range(classes)])


def test_each_class_has_a_line_with_precision_recall_and_f1() -> None:
    lines = classes(report(3, wrong=5)).splitlines()
    assert lines[0].split() == ["class", "rows", "precision", "recall", "F1"]
    assert lines[1].split() == ["topic", "0", "10", "100.0", "50.0", "66.7"]
    assert lines[3].split() == ["topic", "2", "10", "66.7", "100.0", "80.0"]


def test_many_classes_are_shown_as_the_pairs_that_are_confused_most() -> None:
    assert "true \\ predicted" in show_confusion(report(12, wrong=3))
    lines = show_confusion(report(50, wrong=13)).splitlines()
    assert max(map(len, lines)) < 60
    assert [line.split("  ")[0] for line in lines[1:]] == ["topic 0", "topic 1"]
    assert lines[1].split()[-3:] == ["10", "100", "%"]
    assert show_confusion(report(50, wrong=0)) == "no class is confused with another"


def test_wide_characters_are_aligned() -> None:
    assert aligned([("返金", "1"), ("a", "22")], {0}) == "返金   1\na     22"


def test_a_set_is_named_above_its_matrix() -> None:
    target = Target("mine", ("a", "b"), lambda texts: np.tile([0.9, 0.1], (len(texts), 1)))
    evaluation = evaluate_target(target, [Example("x", "a", "set"), Example("y", "b", "set")])
    assert confusions([evaluation]).startswith("\nset: mine\ntrue \\ predicted  a  b")
