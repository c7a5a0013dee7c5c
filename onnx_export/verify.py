"""Compare a changed or quantised model with the original. An artifact that differs too much is not written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from app.inference.artifact import open_artifact
from app.inference.backends.onnx import feed, open_session
from app.inference.model import load_model
from app.inference.padding import pad
from app.inference.scores import softmax
from app.inference.text import normalise
from app.inference.tokenizer import Tokenizer
from app.types import Batch
from training.data import respell
from training.errors import InputError

_COMPARED_TEXTS = 12
_FEWEST_TEXTS = 6
_INVARIANT = 1e-3  # the largest difference of a score
_BATCH_SIZES = (1, 4, 16, 64)
_TOLERANCE = 1e-3  # of float32 logits, whose last digits depend on the order of additions

Logits = NDArray[np.float32]


class ParityError(Exception):
    """The int8 model differs too much from the float32 model."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much int8 may differ from float32 on each sample."""

    lost_points: float = 0.5  # percentage points of accuracy
    other_labels: float = 2.0  # percentage of the texts


@dataclass(frozen=True, slots=True)
class Invariance:
    """How much the scores of a text depend on the other texts in its batch.

    `largest_difference` is between a text's scores alone and in batches of several sizes, `other_labels` the number of
    texts with another label in one of these.
    """

    precision: str
    texts: int
    largest_difference: float
    other_labels: int

    @property
    def passes(self) -> bool:
        return self.largest_difference <= _INVARIANT and not self.other_labels

    def __str__(self) -> str:
        return (
            f"in {self.precision}, scores in a batch differ from those of the text alone by up to "
            f"{self.largest_difference:.4f}, and {self.other_labels} of {self.texts} texts get another label"
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """Texts to compare on, with their labels if all are known."""

    name: str
    texts: Sequence[str]
    labels: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Parity:
    """int8 against float32 on one sample, in percent. Accuracy is over the sample's classes; None without labels."""

    texts: int
    disagreement: float
    fp32_accuracy: float | None = None
    int8_accuracy: float | None = None

    def check(self, name: str, limits: Limits) -> None:
        """Raise `ParityError` if a limit is exceeded."""
        lost = round((self.fp32_accuracy or 0.0) - (self.int8_accuracy or 0.0), 2)
        if lost > limits.lost_points:
            raise ParityError(f"{name}: int8 loses {lost:.2f} points of accuracy, more than {limits.lost_points:g}")
        if self.disagreement > limits.other_labels:
            raise ParityError(
                f"{name}: int8 gives another label to {self.disagreement:.2f} % of the texts, "
                f"more than {limits.other_labels:g} %"
            )


@dataclass(frozen=True, slots=True)
class Report:
    """int8 compared with float32 on each sample, and the precision that is served compared in batches and alone.

    `parity` is empty if float32 is served.
    """

    parity: dict[str, Parity]
    invariance: Invariance


def spell(sample: Sample, names: Sequence[str]) -> Sample:
    """Return `sample` with labels as the model spells them; raise `InputError` for one that it does not have."""
    spelt = {label: respell(label, names) for label in sample.labels or ()}
    if unknown := sorted(label for label, name in spelt.items() if name is None):
        raise InputError(
            f"{sample.name}: the model has no label {', '.join(unknown)}; it has {', '.join(names)}; translate others "
            "with --map theirs:ours"
        )
    return replace(sample, labels=[spelt[label] or "" for label in sample.labels]) if sample.labels else sample


def compare(sample: Sample, names: Sequence[str], fp32: Logits, int8: Logits) -> Parity:
    """Compare the logits of both models on `sample`; `names` are the labels in the model's order: see `spell`."""
    disagreement = round(100 * float((fp32.argmax(axis=1) != int8.argmax(axis=1)).mean()), 2)
    if sample.labels is None:
        return Parity(len(sample.texts), disagreement)
    truth = np.array([names.index(label) for label in sample.labels])
    return Parity(len(sample.texts), disagreement, _accuracy(fp32, truth), _accuracy(int8, truth))


def _accuracy(logits: Logits, truth: NDArray[np.int64]) -> float:
    present = np.unique(truth)
    return round(100 * float((present[logits[:, present].argmax(axis=1)] == truth).mean()), 2)


def can_load(file: Path) -> bool:
    """Return whether ONNX Runtime can load a graph."""
    try:
        open_session(file)
    except Exception:  # the exceptions of ONNX Runtime have no other common base class
        return False
    return True


def same_logits(changed: Path, original: Path, texts: Sequence[str]) -> bool:
    """Return whether the float32 graph `changed` gives texts in a batch the same logits as `original` gives each alone.

    Tokenizer and config are read from the folder of `changed`.
    """
    artifact = open_artifact(str(changed.parent))
    tokenizer = Tokenizer.load(artifact.directory, artifact.max_tokens)
    chosen = sorted(texts, key=len)[:: max(1, len(texts) // _COMPARED_TEXTS)]  # of all lengths
    encodings = tokenizer.encode_many([normalise(text) for text in chosen])
    if len(encodings) < _FEWEST_TEXTS:
        return False
    alone = open_session(original)
    expected = np.concatenate([_run(alone, pad([encoding], artifact.pad_id)) for encoding in encodings])
    try:
        session = open_session(changed)
        results = [_run(session, pad(encodings, artifact.pad_id))]
        results += [np.concatenate([_run(session, pad([encoding], artifact.pad_id)) for encoding in encodings])]
    except Exception:  # see `can_load`
        return False
    return all(np.abs(result - expected).max() < _TOLERANCE for result in results)


def _run(session: InferenceSession, batch: Batch) -> Logits:
    logits: Logits = session.run(None, feed([node.name for node in session.get_inputs()], batch))[0]
    return logits


def logits_of(directory: Path, precision: str, texts: Sequence[str]) -> Logits:
    """Return logits of shape (texts, labels) from the file of that precision, with one text per batch."""
    model = load_model(str(directory), backend="onnx", device="cpu", precision=precision, slots=1)
    return model.logits(texts, batch_size=1)


def invariance(directory: Path, precision: str, texts: Sequence[str]) -> Invariance:
    """Compare the scores of each text alone with those in batches: of similar and of random lengths, at any place."""
    model = load_model(str(directory), backend="onnx", device="cpu", precision=precision, slots=2)
    encodings = model.tokenizer.encode_many([normalise(text) for text in texts])
    pad_id, temperature = model.artifact.pad_id, model.artifact.temperature
    # As the service runs a text when nothing else does: with the threads of all slots.
    alone = np.concatenate([model.backend.run(replace(pad([encoding], pad_id), alone=True)) for encoding in encodings])
    largest, others = 0.0, np.zeros(len(texts), np.bool_)
    shuffled = np.random.default_rng(0).permutation(len(texts)).tolist()
    by_length = sorted(shuffled, key=lambda index: len(encodings[index]))
    for order in (shuffled, by_length):
        for size in _BATCH_SIZES:
            for start in range(0, len(texts), size):
                places = order[start : start + size]
                logits = model.backend.run(pad([encodings[place] for place in places], pad_id))
                difference = np.abs(softmax(logits, temperature) - softmax(alone[places], temperature))
                largest = max(largest, float(difference.max()))
                others[places] |= logits.argmax(axis=1) != alone[places].argmax(axis=1)
    return Invariance(model.info.precision, len(texts), round(largest, 6), int(others.sum()))
