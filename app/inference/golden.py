"""Golden texts: held-out texts with the label and the score that the model gave them when it was published.

`onnx_export` writes them to `golden.jsonl`, one JSON object with `text`, `label` and `score` per line. A model that was
loaded must give the same answers; otherwise it, or the machine that it runs on, is not what was published.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from ..errors import ArtifactError, BackendError
from ..types import Prediction
from .artifact import Artifact
from .files import GOLDEN
from .model import Model
from .text import normalise

_MOST_TEXTS = 1024
_MOST_BYTES = 1024 * 1024
# Difference of a score that is allowed: other processors and precisions round differently.
_TOLERANCE = 0.1
_DIGITS = 4  # of a score, as in answers


@dataclass(frozen=True, slots=True)
class GoldenText:
    """A text, its label, and the probability of that label, from 0 to 1."""

    text: str
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """How many of the golden texts got the answer that they should get.

    `largest_difference` is that of the score of the expected label, from 0 to 1. It is 1 for a text that failed.
    """

    texts: int
    agreeing: int
    largest_difference: float

    @property
    def agreement(self) -> float:
        """The share of the texts that agree, from 0 to 1; 1 if there are no texts."""
        return self.agreeing / self.texts if self.texts else 1.0


def read_golden(artifact: Artifact) -> tuple[GoldenText, ...]:
    """Return the golden texts of an artifact; none if it has no such file, or a manifest that does not list it.

    Raises `ArtifactError` with the number of the line for one that cannot be used, and for a file that has more than
    1,024 lines or 1 MiB; `CorruptArtifact` if the file differs from the manifest.
    """
    file, source = artifact.directory / GOLDEN, artifact.source
    listed = GOLDEN in artifact.manifest.get("files", {})
    if not listed and (artifact.manifest or not file.is_file()):
        return ()
    if file.is_file() and file.stat().st_size > _MOST_BYTES:
        raise ArtifactError(f"{file}: has more than 1 MiB; write fewer or shorter texts")
    try:
        lines = source.read(GOLDEN).decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise ArtifactError(f"{file}: not valid UTF-8") from None
    if len(lines) > _MOST_TEXTS:
        raise ArtifactError(f"{file}: has more than {_MOST_TEXTS:,} lines; write fewer texts")
    texts = []
    for number, line in enumerate(lines, 1):
        try:
            texts.append(_parse(line, artifact.labels))
        except ValueError as error:
            raise ArtifactError(f"{file}, line {number}: {error}") from None
    return tuple(texts)


def render_golden(texts: Iterable[GoldenText]) -> str:
    """Return the content of the file."""
    return "".join(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in texts)


def answer_golden(model: Model, texts: Sequence[GoldenText]) -> list[Prediction | BackendError]:
    """Return what a model answers to each text, alone. Blocks, and runs in the calling thread."""
    encodings = model.tokenizer.encode_many([normalise(each.text) for each in texts])
    return [model.runner.run([encoding])[0] for encoding in encodings]


def compare_golden(
    expected: Sequence[GoldenText], predictions: Sequence[Prediction | Exception], tolerance: float = _TOLERANCE
) -> GoldenResult:
    """Compare answers with the golden texts that they are for, in the same order.

    A text agrees if it has the expected label, with a score that differs by at most `tolerance`. One that failed does
    not agree.
    """
    agreeing, largest = 0, 0.0
    for golden, prediction in zip(expected, predictions, strict=True):
        if isinstance(prediction, Exception):
            largest = 1.0
            continue
        # Rounded: 0.8 and 0.7 differ by a little more than 0.1 in binary.
        difference = round(abs(prediction.scores[golden.label] - golden.score), _DIGITS)
        agreeing += prediction.label == golden.label and difference <= tolerance
        largest = max(largest, difference)
    return GoldenResult(len(expected), agreeing, largest)


def _parse(line: str, labels: Sequence[str]) -> GoldenText:
    """Return one line; raise `ValueError` with what is wrong. Messages do not quote the text."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("not valid JSON") from None
    if not isinstance(record, dict):
        raise ValueError("not a JSON object with text, label and score")
    text, label, score = (record.get(name) for name in ("text", "label", "score"))
    if not isinstance(text, str) or not normalise(text):
        raise ValueError("text must be a text with a visible character")
    if not isinstance(label, str) or label not in labels:
        raise ValueError(f"label must be one of the model, which has {', '.join(labels)}")
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise ValueError("score must be a number from 0 to 1")
    return GoldenText(text, label, float(score))
