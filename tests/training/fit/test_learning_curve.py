"""The learning curve shows the figures in the history of a run."""

from pathlib import Path

import matplotlib.image
import pytest

from training.fit.learning_curve import draw_learning_curve

LOSSES = [{"step": step, "loss": 1 / step, "learning_rate": step * 1e-6} for step in range(1, 201)]
EVALUATIONS = [
    {"step": 100, "dev": {"a": {"accuracy": 0.5}, "b": {"accuracy": 0.6}}},
    {"step": 200, "dev": {"a": {"accuracy": 0.75}, "b": {"accuracy": 0.7}}},
]


def test_it_shows_loss_learning_rate_and_accuracy_by_step(tmp_path: Path) -> None:
    figure = draw_learning_curve([*LOSSES, *EVALUATIONS], tmp_path / "curve.png")
    height, width, _ = matplotlib.image.imread(tmp_path / "curve.png").shape
    assert (width, height) == tuple(round(inches * 120) for inches in figure.get_size_inches())
    loss, rate, accuracy = figure.axes
    assert loss.lines[0].get_ydata() == pytest.approx([entry["loss"] for entry in LOSSES])
    assert rate.lines[0].get_ydata()[-1] == pytest.approx(200e-6)
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in accuracy.lines}
    assert lines == {"a: 75.0": ([100, 200], [50, 75]), "b: 70.0": ([100, 200], [60, 70])}
    labels = ["training loss, mean of 100 steps", "learning rate", "accuracy, %"]
    assert [axes.get_ylabel() for axes in figure.axes] == labels
    assert accuracy.get_xlabel() == "step"


def test_a_run_without_an_evaluation_can_be_drawn(tmp_path: Path) -> None:
    figure = draw_learning_curve(LOSSES[:1], tmp_path / "curve.png")
    assert (tmp_path / "curve.png").is_file()
    assert list(figure.axes[0].lines[0].get_ydata()) == [1]
