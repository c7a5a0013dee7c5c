"""The learning curve shows the figures in the history of a run."""

from pathlib import Path

import matplotlib.image
import pytest

from training.fit.learning_curve import draw_learning_curve

LOSSES = [{"step": step, "loss": 1 / step, "learning_rate": step * 1e-6} for step in range(1, 201)]
EVALUATIONS = [
    {"step": 100, "epoch": 1, "dev": {"a": {"macro_f1": 0.7, "loss": 0.5}, "b": {"macro_f1": 0.8, "loss": 0.25}}},
    {"step": 200, "epoch": 2, "dev": {"a": {"macro_f1": 0.5, "loss": 0.75}, "b": {"macro_f1": 0.7, "loss": 0.5}}},
]


def test_it_shows_losses_learning_rate_and_macro_f1_by_step(tmp_path: Path) -> None:
    figure = draw_learning_curve([*LOSSES, *EVALUATIONS], tmp_path / "curve.png", 0.3, 0.05)
    height, width, _ = matplotlib.image.imread(tmp_path / "curve.png").shape
    assert (width, height) == tuple(round(inches * 120) for inches in figure.get_size_inches())
    loss, rate, macro_f1 = figure.axes
    assert loss.lines[0].get_ydata() == pytest.approx([entry["loss"] for entry in LOSSES])
    assert rate.lines[0].get_ydata()[-1] == pytest.approx(200e-6)
    losses = {line.get_label(): list(line.get_ydata()) for line in loss.lines[2:]}
    assert losses == {"a, without label smoothing": [0.5, 0.75], "b, without label smoothing": [0.25, 0.5]}
    lines = {line.get_label(): list(line.get_ydata()) for line in macro_f1.lines[:2]}
    assert lines == {"a": [70, 50], "b": [80, 70]}
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "learning rate", "macro F1, %"]
    assert macro_f1.get_xlabel() == "step"


def test_it_marks_the_best_epoch_and_the_loss_that_label_smoothing_allows(tmp_path: Path) -> None:
    loss, _, macro_f1 = draw_learning_curve([*LOSSES, *EVALUATIONS], tmp_path / "curve.png", 0.3, 0.05).axes
    assert loss.lines[0].get_label() == "training, mean of the last 10 steps"
    assert loss.lines[1].get_label() == "lowest possible in training, with label smoothing of 0.05"
    assert list(loss.lines[1].get_ydata()) == [0.3, 0.3]
    assert macro_f1.lines[2].get_label() == "best: epoch 1, step 100"
    assert list(macro_f1.lines[2].get_xdata()) == [100, 100]


def test_a_run_without_an_evaluation_can_be_drawn(tmp_path: Path) -> None:
    figure = draw_learning_curve(LOSSES[:1], tmp_path / "curve.png")
    assert (tmp_path / "curve.png").is_file()
    assert list(figure.axes[0].lines[0].get_ydata()) == [1]
