"""`python -m training calibrate`: fit the temperature of a checkpoint, or a bias for each of its labels.

All logits are divided by one temperature, which changes the probabilities but not the labels (Guo et al. 2017). It is
fitted on rows that were not trained on and is stored in the checkpoint's config.json, where every backend reads it.

A bias is added to the logits of each label but the last. It is the one with the highest accuracy, and becomes part of
the weights.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from app.inference.files import MANIFEST
from app.inference.model import load_model
from app.inference.scores import softmax
from app.types import FloatArray
from training.checkpoints.device import read_classifier
from training.checkpoints.locate import find_checkpoint
from training.data import Example, add_layout_arguments, check_labels, read_tables
from training.errors import InputError
from training.evaluation import Indices, Report, aligned, classes_of, logits, measure, score
from training.files import read_json, replace

# Not `temperature`: that is a setting for text generation, and transformers warns about it in a classifier.
TEMPERATURE_KEY = "calibration_temperature"
_LOWEST, _HIGHEST = 1e-3, 1e3  # of the search; beyond them, scores are 0 and 1, or all the same
_FEW_ROWS = 100
_BIASES = np.linspace(-0.5, 0.5, 11)
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Calibration:
    """A temperature, the reports of each set without and with it, and what was found, in words."""

    temperature: float
    reports: dict[str, tuple[Report, Report]]
    finding: str

    @property
    def change(self) -> dict[str, list[float]]:
        """Loss and calibration error over all rows, each without and with the temperature."""
        rows = sum(before.rows for before, _ in self.reports.values())
        return {
            name: [
                round(sum(pair[side].rows * getattr(pair[side], field) for pair in self.reports.values()) / rows, 4)
                for side in (0, 1)
            ]
            for name, field in (("loss", "nll"), ("calibration_error", "ece"))
        }

    @property
    def comparison(self) -> str:
        """Say how loss and calibration error have changed."""
        (loss, new_loss), (error, new_error) = self.change.values()
        text = (
            f"Loss {loss:.3f}, and {new_loss:.3f} with it; calibration error {100 * error:.1f} %, and "
            f"{100 * new_error:.1f} % with it."
        )
        if new_error > error and new_loss <= loss:
            text += (
                " This error grew: the temperature is the one with the lowest loss, and the error is rough on few rows."
            )
        return text


def fit_temperature(sets: Sequence[tuple[NDArray[np.floating], Indices]]) -> float:
    """Return the temperature with the lowest negative log-likelihood. Each set of (logits, labels) has the same weight.

    A set that lacks a class is measured over its own classes. If every row is right, more confidence is always better:
    then one more row is taken to be wrong (Platt 1999). Raises `InputError` if the model is no better than chance.
    """
    ready = [_shifted(np.asarray(values, dtype=np.float64), np.asarray(truth)) for values, truth in sets]
    error_shares = [1 / (len(values) + 2) if all_right(sets) else 0.0 for values in ready]

    def loss(power: float) -> float:
        return float(
            np.mean([_loss(values * np.exp(-power), share) for values, share in zip(ready, error_shares, strict=True)])
        )

    temperature = float(np.exp(_lowest_point(loss, np.log(_LOWEST), np.log(_HIGHEST))))
    if temperature > _HIGHEST / 1.01:
        raise InputError(
            "there is no best temperature, because the model is no better than chance on these rows; the checkpoint is "
            "unchanged. Train it on more rows or for more steps, or check that these rows have the right labels"
        )
    return temperature


def all_right(sets: Sequence[tuple[NDArray[np.floating], Indices]]) -> bool:
    """Tell whether the model is right on every row."""
    return all(
        ((shifted < 0).sum(axis=1) == shifted.shape[1] - 1).all()
        for shifted in (_shifted(np.asarray(values, dtype=np.float64), np.asarray(truth)) for values, truth in sets)
    )


def _loss(shifted: NDArray[np.float64], error_share: float) -> float:
    """Return the mean loss, with `error_share` of each label given to the other classes in equal parts."""
    total = np.log(np.exp(shifted - shifted.max(axis=1, keepdims=True)).sum(axis=1)) + shifted.max(axis=1)
    others = shifted.shape[1] - 1
    return float((total - error_share * shifted.sum(axis=1) / others).mean())


def _lowest_point(loss: Callable[[float], float], low: float, high: float) -> float:
    """Return where `loss` is lowest: it is convex in 1/T, so it has one minimum in log T (golden-section search)."""
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
    return (low + high) / 2


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


def calibrate_checkpoint(checkpoint: Path, examples: Sequence[Example]) -> Calibration:
    """Fit the temperature of `checkpoint` on `examples` and write it to its config.json.

    An earlier temperature has no effect.
    """
    labels, sets = _logits_by_set(checkpoint, examples)
    temperature = float(f"{fit_temperature(list(sets.values())):.4g}")
    config = checkpoint / "config.json"
    replace(config, json.dumps(read_json(config) | {TEMPERATURE_KEY: temperature}, indent=2) + "\n")
    reports = {
        name: (
            measure(score(softmax(values), truth), labels),
            measure(score(softmax(values / np.float32(temperature)), truth), labels),
        )
        for name, (values, truth) in sets.items()
    }
    return Calibration(temperature, reports, _finding(temperature, reports, guessed=all_right(list(sets.values()))))


def _finding(temperature: float, reports: Mapping[str, tuple[Report, Report]], *, guessed: bool) -> str:
    """Say in words what was wrong with the confidence, and what was done."""
    rows = sum(before.rows for before, _ in reports.values())
    accuracy, confidence, corrected = (
        100 * sum(each.rows * figure(each) for each in chosen) / rows
        for chosen, figure in (
            ([before for before, _ in reports.values()], lambda each: each.accuracy),
            ([before for before, _ in reports.values()], mean_confidence),
            ([after for _, after in reports.values()], mean_confidence),
        )
    )
    gap = confidence - accuracy
    fault = "too sure" if gap > 0 else "too unsure"
    state = "about as sure as it is right" if abs(gap) < 2 else f"{'far ' if abs(gap) > 20 else ''}{fault}"
    text = (
        f"The model was {state}: mean confidence {confidence:.1f} % at an accuracy of {accuracy:.1f} % on {rows} rows. "
        f"With the temperature {temperature:g}, its mean confidence is {corrected:.1f} %."
    )
    if guessed:
        text = (
            f"The model is right on all {rows} rows, with a mean confidence of {confidence:.1f} %. They do not show "
            f"how often it is wrong, so one error in {rows + 2} is assumed: with the temperature {temperature:g}, its "
            f"mean confidence is {corrected:.1f} %."
        )
    if rows < _FEW_ROWS:
        text += f" {rows} rows are few for this; {_FEW_ROWS} or more give a temperature that you can rely on."
    return text


def mean_confidence(report: Report) -> float:
    return sum(each.rows * each.confidence for each in report.bins) / report.rows


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
    calibration = calibrate_checkpoint(checkpoint, examples)
    rows = [("set", "rows", "NLL", "after", "ECE, %", "after")]
    for name, (before, after) in calibration.reports.items():
        errors = (f"{100 * before.ece:.2f}", f"{100 * after.ece:.2f}")
        rows.append((name, f"{before.rows}", f"{before.nll:.4f}", f"{after.nll:.4f}", *errors))
    print(f"temperature {calibration.temperature:g}")
    print(aligned(rows, {0}))
    print(calibration.finding)
    print(calibration.comparison)
