"""Ranges of activations."""

from pathlib import Path

import numpy as np
import pytest

from app.types import Encoding
from onnx_export.calibrate import Range, best_range, record
from onnx_export.quantize import products
from tests.support.families import WARNINGS, graph_of

pytestmark = WARNINGS

RNG = np.random.default_rng(0)
ONES = np.ones((16, 4), np.float32)


def test_a_range_always_represents_zero() -> None:
    for low, high in [(-1.0, 3.0), (0.0, 2.0), (-5.0, 0.0), (0.0, 0.0)]:
        assert Range.between(low, high).round(np.zeros(1, np.float32)) == 0


def test_a_range_cuts_off_what_lies_beyond_its_ends() -> None:
    values = np.array([-9, -1, 0.5, 3, 9], np.float32)
    assert Range.between(-1, 3).round(values) == pytest.approx([-1, -1, 0.5, 3, 3], abs=4 / 255)


def test_evenly_spread_values_get_their_whole_range() -> None:
    values = RNG.uniform(-1, 2, size=(1000, 16)).astype(np.float32)
    best = best_range(values, ONES)
    assert best.scale == pytest.approx(3 / 255, rel=0.05)
    assert best.zero_point == pytest.approx(85, abs=3)


def test_a_rare_value_is_cut_off_if_that_lowers_the_error() -> None:
    values = RNG.uniform(-1, 1, size=(20_000, 16)).astype(np.float32)
    values[0, 0] = 1.5
    best, whole = best_range(values, ONES), Range.between(-1, 1.5)
    assert best.scale < 0.9 * whole.scale
    errors = [np.square(each.round(values) - values).mean() for each in (best, whole)]
    assert errors[0] < 0.9 * errors[1]


def test_inputs_with_large_weights_decide_the_range() -> None:
    values = RNG.normal(size=(1000, 16)).astype(np.float32)
    values[:, 0] *= 30
    ignored, important = ONES.copy(), ONES.copy()
    ignored[0], important[0] = 0, 100
    assert best_range(values, ignored).scale < 0.2 * best_range(values, important).scale


def test_each_text_is_recorded_by_itself(tmp_path: Path) -> None:
    graph = graph_of("distilbert", tmp_path)
    names = products(graph)[:2]
    short, long = (Encoding(RNG.integers(5, 20_000, length).tolist(), truncated=False) for length in (3, 7))
    together = record(graph, names, [short, long], 0)
    alone = [record(graph, names, [text], 0) for text in (short, long)]
    for name in names:
        assert together[name].shape[0] == 10
        assert np.array_equal(together[name], np.concatenate([values[name] for values in alone]))
    assert not [*graph.parent.glob("*.watched.onnx")]
