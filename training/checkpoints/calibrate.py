"""`python -m training calibrate`: fit the temperature of a checkpoint, or a bias for each of its labels.

All logits are divided by one temperature, which changes the probabilities but not the labels (Guo et al. 2017). It is
fitted on rows that were not trained on and is stored in the checkpoint's config.json, where every backend reads it.

A bias is added to the logits of each label but the last. It is the one with the highest accuracy, and becomes part of
the weights.
"""

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from app.inference.files import MANIFEST
from app.inference.model import load_model
from app.inference.runner import softmax
from app.types import FloatArray
from training.checkpoints.device import read_classifier
from training.checkpoints.locate import find_checkpoint
from training.data import Example, add_layout_arguments, check_labels, read_tables
from training.errors import InputError
from training.evaluation import Indices, Report, aligned, classes_of, logits, measure, score
from training.files import read_json, replace

# Not `temperature`: that is a setting for text generation, and transformers warns about it in a classifier.
TEMPERATURE_KEY = "calibration_temperature"
_LOWEST, _HIGHEST = 0.05, 20.0
_BIASES = np.linspace(-0.5, 0.5, 11)
_GOLDEN = (5**0.5 - 1) / 2


def fit_temperature(sets: Sequence[tuple[NDArray[np.floating], Indices]]) -> float:
    """Return the temperature with the lowest negative log-likelihood. Each set of (logits, labels) has the same weight.

    A set that lacks a class is measured over its own classes. Raises `InputError` if there is no best temperature: for
    example, if every row is classified correctly, more confidence is always better.
    """
    ready = [_shifted(np.asarray(values, dtype=np.float64), np.asarray(truth)) for values, truth in sets]

    def loss(power: float) -> float:
        return float(np.mean([np.log(np.exp(values * np.exp(-power)).sum(axis=1)).mean() for values in ready]))

    # The loss is convex in 1/T, so it has a single minimum in log T, which golden-section search finds.
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
            "there is no best temperature: there are too few rows, or the model is right on all of them or no better "
            "than chance; the checkpoint is unchanged and can be exported without a temperature"
        )
    return temperature


def fit_bias(sets: Sequence[tuple[NDArray[np.floating], Indices]]) -> NDArray[np.float64]:
    """Return the bias of each label with the highest accuracy; each set of (logits, labels) has the same weight.

    A set that lacks a class is measured over its own classes. The last label has none. Of equally good ones, the bias
    closest to 0 is returned. Raises `InputError` for more than three labels, which would take too many trials.
    """
    labels = sets[0][0].shape[1]
    if labels > 3:
        raise InputError(f"a bias can be fitted for up to 3 labels, and the model has {labels}")

    def accuracy(bias: NDArray[np.float64]) -> float:
        return float(np.mean([_accuracy(values + bias, np.asarray(truth)) for values, truth in sets]))

    trials = [np.array([*some, 0.0]) for some in itertools.product(_BIASES, repeat=labels - 1)]
    best = max(trials, key=lambda bias: (round(accuracy(bias), 9), -np.abs(bias).sum()))
    return np.round(best, 1)


def _accuracy(values: NDArray[np.floating], truth: Indices) -> float:
    own = classes_of(truth, values.shape[1])
    return float((own[values[:, own].argmax(axis=1)] == truth).mean())


def add_bias(checkpoint: Path, examples: Sequence[Example]) -> NDArray[np.float64]:
    """Fit a bias for each label on `examples` and add it to that of the classifier in `checkpoint`; return it."""
    _, sets = _logits_by_set(checkpoint, examples)
    bias = fit_bias([*sets.values()])
    model = read_classifier(checkpoint)
    head = next(layer for layer in reversed([*model.modules()]) if isinstance(layer, nn.Linear))
    with torch.no_grad():
        head.bias += torch.from_numpy(bias).to(head.bias.dtype)
    model.save_pretrained(checkpoint)
    return bias


def _shifted(values: NDArray[np.float64], truth: Indices) -> NDArray[np.float64]:
    """Return logits over the set's classes minus the logit of the true class, so that -log p is log Σ exp."""
    own = classes_of(truth, values.shape[1])
    return values[:, own] - values[np.arange(len(truth)), truth][:, None]


def calibrate_checkpoint(
    checkpoint: Path, examples: Sequence[Example]
) -> tuple[float, dict[str, tuple[Report, Report]]]:
    """Fit the temperature of `checkpoint` on `examples` and write it to its config.json.

    Returns the temperature and, for every set, the reports without and with it. An earlier temperature has no effect.
    """
    labels, sets = _logits_by_set(checkpoint, examples)
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


def _logits_by_set(
    checkpoint: Path, examples: Sequence[Example]
) -> tuple[tuple[str, ...], dict[str, tuple[FloatArray, Indices]]]:
    """Return the labels of the model and, for each set, its logits and true labels."""
    if (checkpoint / MANIFEST).is_file():
        raise InputError(f"{checkpoint} is an artifact, whose checksums would no longer match; calibrate before export")
    model = load_model(str(checkpoint), backend="torch", precision="fp32")
    labels = model.artifact.labels
    examples = check_labels(examples, labels, "the model has")
    sets = {}
    for name in sorted({example.source for example in examples}):
        members = [example for example in examples if example.source == name]
        truth = np.array([labels.index(str(example.label)) for example in members])
        sets[name] = (logits(model, [example.text for example in members]), truth)
    return labels, sets


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="directory; the temperature is written to its config.json")
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="SOURCE",
        help="labelled text that was not trained on (formats: docs/training.md)",
    )
    add_layout_arguments(parser)
    parser.add_argument(
        "--bias", action="store_true", help="add a bias for each label to the weights, instead of fitting a temperature"
    )


def main(args: argparse.Namespace) -> None:
    checkpoint, examples = find_checkpoint(args.checkpoint), read_tables(args.data, args).rows
    if args.bias:
        print(f"bias {add_bias(checkpoint, examples).tolist()}")
        return
    temperature, reports = calibrate_checkpoint(checkpoint, examples)
    rows = [("set", "rows", "NLL", "after", "ECE, %", "after")]
    for name, (before, after) in reports.items():
        calibration = (f"{100 * before.ece:.2f}", f"{100 * after.ece:.2f}")
        rows.append((name, f"{before.rows}", f"{before.nll:.4f}", f"{after.nll:.4f}", *calibration))
    print(f"temperature {temperature}")
    print(aligned(rows, {0}))
