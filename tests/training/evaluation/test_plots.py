"""The plots exist and show the figures that they were given."""

from itertools import pairwise
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from training.data import LABELS
from training.evaluation import plots
from training.evaluation.metrics import Report, measure, score
from training.evaluation.plots import confusion_matrices, reliability_diagram, shown_labels


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet((0.5, 0.5, 0.5), 300)
    three, two = rng.integers(0, 3, 300), 2 * rng.integers(0, 2, 300)
    return {name: measure(score(probabilities, truth), LABELS) for name, truth in {"all": three, "polar": two}.items()}


def size_is_that_of(figure: Figure, path: Path) -> bool:
    height, width, _ = matplotlib.image.imread(path).shape
    return (width, height) == tuple(round(inches * 120) for inches in figure.get_size_inches())


class TestReliabilityDiagram:
    def test_each_bin_shows_accuracy_confidence_and_texts(self, reports: dict[str, Report], tmp_path: Path) -> None:
        figure = reliability_diagram(reports, tmp_path / "reliability.png")
        assert size_is_that_of(figure, tmp_path / "reliability.png")
        for report, upper, lower in zip(reports.values(), figure.axes[:2], figure.axes[2:], strict=True):
            bins = [each for each in report.bins if each.rows]
            accuracy, overconfident, underconfident = ([bar.get_height() for bar in bars] for bars in upper.containers)
            assert accuracy == pytest.approx([100 * each.accuracy for each in bins])
            gaps = [over - under for over, under in zip(overconfident, underconfident, strict=True)]
            assert gaps == pytest.approx([100 * (each.confidence - each.accuracy) for each in bins])
            tops = [bar.get_y() + bar.get_height() for bar in upper.containers[1] if bar.get_height()]
            assert tops == pytest.approx([100 * each.confidence for each in bins if each.confidence > each.accuracy])
            assert [bar.get_height() for bar in lower.containers[0]] == [each.rows for each in bins]
            for bar, each in zip(upper.containers[0], bins, strict=True):
                assert abs(bar.get_x() + bar.get_width() / 2 - each.confidence) <= 1 / 30 + 1e-9
            assert f"ECE {100 * report.ece:.1f} %" in upper.get_title()
            assert lower.get_title() == "300 texts"
            assert lower.get_xlabel() == "confidence"


class TestConfusionMatrices:
    def test_each_cell_shows_its_count_and_its_share(self, reports: dict[str, Report], tmp_path: Path) -> None:
        figure = confusion_matrices(reports, tmp_path / "confusion.png")
        assert size_is_that_of(figure, tmp_path / "confusion.png")
        for report, axes in zip(reports.values(), figure.axes, strict=True):
            counts = np.array(report.confusion)
            shares = counts / counts.sum(axis=1, keepdims=True)
            assert np.asarray(axes.images[0].get_array()) == pytest.approx(shares)
            shown = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
            assert shown == {place: f"{count}\n{100 * shares[place]:.0f} %" for place, count in np.ndenumerate(counts)}
            assert [tick.get_text() for tick in axes.get_yticklabels()] == list(report.classes)
            assert [tick.get_text() for tick in axes.get_xticklabels()] == list(report.classes)
        assert [list(report.classes) for report in reports.values()] == [list(LABELS), ["negative", "positive"]]

    def test_the_epoch_is_shown(self, reports: dict[str, Report], tmp_path: Path) -> None:
        for draw in (confusion_matrices, reliability_diagram):
            assert draw(reports, tmp_path / "plot.png", "after epoch 3").get_suptitle() == "after epoch 3"

    @pytest.mark.parametrize("classes", [12, 50])
    def test_many_classes_have_room_for_each_label_and_number(self, classes: int, tmp_path: Path) -> None:
        truth = np.repeat(np.arange(classes), 3)
        names = [f"a class with a name {number}" for number in range(classes)]
        figure = confusion_matrices({"dev": measure(score(np.eye(classes)[truth], truth), names)}, tmp_path / "c.png")
        (axes,) = figure.axes
        assert [text.get_text() for text in axes.texts] == ["3"] * classes  # no zeros
        figure.canvas.draw()
        for labels, size in ((axes.get_xticklabels(), "width"), (axes.get_yticklabels(), "height")):
            boxes = [label.get_window_extent() for label in labels]
            assert len(boxes) == classes
            gaps = [abs(one.x0 - two.x0) if size == "width" else abs(one.y0 - two.y0) for one, two in pairwise(boxes)]
            assert min(gaps) >= max(getattr(box, size) for box in boxes)

    def test_a_label_without_a_font_is_shown_as_its_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        only = [each for each in plots._fonts() if each[0] == "DejaVu Sans"]
        monkeypatch.setattr(plots, "_fonts", lambda: only)
        plots._font_with.cache_clear()
        assert shown_labels(["refund", "返金", "5 $", "x" * 40])[0] == ["refund", "no. 2", r"5 \$", "x" * 29 + "…"]
        plots._font_with.cache_clear()
