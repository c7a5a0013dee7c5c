"""Make confidence mean what it says: `python -m training calibrate CHECKPOINT --data PATH…`.

One temperature divides all logits, so that labels stay and only their probabilities move (Guo et al. 2017). It is
fitted on rows that were not trained on, and kept in the checkpoint's config.json, which every backend's answers obey.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.inference.artifact import MANIFEST
from app.inference.model import load_model
from app.inference.runner import softmax
from training.data import Example, check_labels, read_all
from training.errors import InputError
from training.evaluation import Indices, Report, aligned, classes_of, logits, measure, score
from training.files import read_json, replace

# Not `temperature`: that is a setting of text generation, and transformers complains of it in a classifier.
TEMPERATURE_KEY = "calibration_temperature"
_LOWEST, _HIGHEST = 0.05, 20.0
_GOLDEN = (5**0.5 - 1) / 2


def fit_temperature(sets: Sequence[tuple[NDArray[np.floating], Indices]]) -> float:
    """The temperature with the least negative log likelihood; each set of (logits, labels) weighs the same.

    A set that lacks a class is held against its own classes. Raises `InputError` when no temperature is best: labels
    that the logits tell apart without any error call for ever more confidence.
    """
    ready = [_shifted(np.asarray(values, dtype=np.float64), np.asarray(truth)) for values, truth in sets]

    def loss(power: float) -> float:
        return float(np.mean([np.log(np.exp(values * np.exp(-power)).sum(axis=1)).mean() for values in ready]))

    # Convex in 1/T, so with a single valley in log T: golden-section search closes in on it.
    low, high = np.log(_LOWEST), np.log(_HIGHEST)
    inner, outer = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_inner, at_outer = loss(inner), loss(outer)
    while high - low > 1e-6:
        if at_inner <= at_outer:
            high, outer, at_outer = outer, inner, at_inner
            inner = high - _GOLDEN * (high - low)
            at_inner = loss(inner)
        else:
            low, inner, at_inner = inner, outer, at_outer
            outer = low + _GOLDEN * (high - low)
            at_outer = loss(outer)
    temperature = float(np.exp((low + high) / 2))
    if not 1.01 * _LOWEST < temperature < _HIGHEST / 1.01:
        raise InputError(
            "no temperature is best: these rows are too few, or were all told right or at random; "
            "the checkpoint is as it was, and can be exported without one"
        )
    return temperature


def _shifted(values: NDArray[np.float64], truth: Indices) -> NDArray[np.float64]:
    """Logits over the set's classes, less that of the true one: what is left of -log p is log Σ exp."""
    own = classes_of(truth, values.shape[1])
    return values[:, own] - values[np.arange(len(truth)), truth][:, None]


def calibrate_checkpoint(
    checkpoint: Path, examples: Sequence[Example]
) -> tuple[float, dict[str, tuple[Report, Report]]]:
    """Fit the temperature of `checkpoint` on `examples` and write it into its config.json.

    Returns it, and the figures of every set without and with it. Whatever stood there before has no influence.
    """
    if (checkpoint / MANIFEST).is_file():
        raise InputError(f"{checkpoint}: an artifact, whose checksums would not hold; calibrate before the export")
    model = load_model(str(checkpoint), backend="torch", precision="fp32")
    labels = model.artifact.labels
    check_labels(examples, labels, "the model has")
    sets = {}
    for name in sorted({example.source for example in examples}):
        members = [example for example in examples if example.source == name]
        truth = np.array([labels.index(str(example.label)) for example in members])
        sets[name] = (logits(model, [example.text for example in members]), truth)
    temperature = round(fit_temperature(list(sets.values())), 4)
    config = checkpoint / "config.json"
    replace(config, json.dumps(read_json(config) | {TEMPERATURE_KEY: temperature}, indent=2) + "\n")
    return temperature, {
        name: (
            measure(score(softmax(values), truth), labels),
            measure(score(softmax(values / np.float32(temperature)), truth), labels),
        )
        for name, (values, truth) in sets.items()
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `main`."""
    parser.add_argument("checkpoint", type=Path, help="directory; its config.json gets the temperature")
    parser.add_argument("--data", nargs="+", required=True, metavar="PATH", help="labelled text not trained on")


def main(args: argparse.Namespace) -> None:
    """Print the temperature and what it changed."""
    temperature, reports = calibrate_checkpoint(args.checkpoint, read_all(args.data))
    rows = [("set", "rows", "NLL", "then", "ECE, %", "then")]
    for name, (before, after) in reports.items():
        calibration = (f"{100 * before.ece:.2f}", f"{100 * after.ece:.2f}")
        rows.append((name, f"{before.rows}", f"{before.nll:.4f}", f"{after.nll:.4f}", *calibration))
    print(f"temperature {temperature}")
    print(aligned(rows, {0}))
