"""What exits change in the answers of an artifact, as it is served."""

from collections.abc import Sequence

import numpy as np

from app.inference.golden import answer_golden, compare_golden, read_golden
from app.inference.model import Model
from onnx_export.samples import evenly
from training.errors import InputError
from training.exits.thresholds import Answers, Outcome, compare

_SAME = 1e-3  # between the logits of the parts and of the whole graph
_COMPARED = 1000  # texts
_GOLDEN_AGREEMENT = 0.9


def measure(served: Model, texts: Sequence[str], answers: Answers) -> Outcome:
    """Return what the exits change for texts; `answers` are those of the whole model."""
    predictions = served.predict(texts)
    scores = np.array([[each.scores[label] for label in served.artifact.labels] for each in predictions])
    depths = np.array([each.layers for each in predictions])
    return compare(answers, scores, depths, served.info.layers)


def check(served: Model, whole: Model, texts: Sequence[str]) -> None:
    """Raise `InputError` unless the answers of an artifact with exits are as they must be.

    The parts together answer like the whole graph, a text in a batch as it does alone and after as many layers, and the
    golden texts as they did when the artifact was published.
    """
    texts = evenly(texts, _COMPARED)
    difference = float(np.abs(whole.logits(texts) - served.logits(texts)).max())
    if difference > _SAME:
        raise InputError(f"the parts differ from the whole graph by {difference:.4f}; nothing was changed")
    alone, together = served.predict(texts, batch_size=1), served.predict(texts)
    pairs = zip(alone, together, strict=True)
    if other := sum((one.layers, one.label) != (two.layers, two.label) for one, two in pairs):
        raise InputError(f"{other} of {len(texts)} texts get another answer in a batch; nothing was changed")
    golden = read_golden(served.artifact)
    result = compare_golden(golden, answer_golden(served, golden))
    if golden and result.agreement < _GOLDEN_AGREEMENT:
        raise InputError(
            f"only {result.agreeing} of {result.texts} golden texts keep their answer; nothing was changed"
        )
