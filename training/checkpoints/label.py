"""`python -m training label`: a teacher's scores on texts, for a smaller model to learn from.

The method is knowledge distillation (Hinton et al. 2015).
"""

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from app.inference.artifact import open_artifact, sha256
from app.inference.batches import group_by_length
from app.inference.padding import pad
from app.inference.scores import softmax
from app.inference.tokenizer import Tokenizer
from app.types import Encoding
from training.checkpoints.device import Device
from training.checkpoints.locate import find_checkpoint
from training.data import Example, detokenise, read_all, split_passages
from training.errors import InputError
from training.files import atomic_output, checksum, read_json, replace

_CHUNK = 2048  # examples that are batched by length and saved together
_BATCH_TOKENS = 1536
_MAX_TOKENS = 128  # of a passage; only a very long word can exceed it


@dataclass(frozen=True, slots=True)
class _Reading:
    """An example, its text in ordinary spelling, and the passages of that text."""

    example: Example
    plain: str
    passages: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("teacher", type=Path, help="directory of the teacher's checkpoint")
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="SOURCE", help="texts to score (formats: docs/training.md)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="new .jsonl file; to resume, run the same command again",
    )


def main(args: argparse.Namespace) -> None:
    label_texts(find_checkpoint(args.teacher), args.out, read_all(args.data))


def label_texts(teacher: Path, out: Path, examples: Sequence[Example], seed: int = 7) -> None:
    """Write every distinct text of `examples` to `out` as JSON lines, with the scores of the classifier at `teacher`.

    The scores are those that the teacher would be served with, so a calibration temperature applies. A text in Penn
    Treebank tokens is also written in ordinary spelling. A long text is also written as passages. Passages get scores
    but no label, because the label of a whole review need not fit each passage. The whole text gets the mean of its
    passages' scores, weighted by length.

    An interrupted run resumes. Raises `InputError` if that run had other texts or another teacher, or if `out` exists.
    """
    with atomic_output(out) as part:
        progress = _SavedProgress(part, {"teacher": sha256(teacher / "model.safetensors"), "texts": checksum(examples)})
        tokenizer = Tokenizer.load(teacher, _MAX_TOKENS)
        first: dict[str, Example] = {}
        for example in examples:
            first.setdefault(example.text, example)
        distinct = list(first.values())
        scorer = _Teacher(teacher, tokenizer, Device())
        bar = tqdm(total=len(distinct), initial=progress.texts, unit="text", mininterval=10)
        with part.open("a", encoding="utf-8") as file, bar:
            file.truncate(progress.bytes)
            for start in range(progress.texts, len(distinct), _CHUNK):
                chunk = distinct[start : start + _CHUNK]
                _write(file, chunk, scorer, tokenizer, random.Random(seed + start))
                file.flush()
                progress.save(start + len(chunk), file.tell())
                bar.update(len(chunk))
    progress.remove()


class _SavedProgress:
    """How many texts are labelled and how large the file is then, in a file next to it until it is complete."""

    def __init__(self, part: Path, inputs: Mapping[str, str]) -> None:
        self._file = part.with_suffix(".bookmark")
        self._inputs = inputs
        self.texts, self.bytes = 0, 0
        if part.is_file() and self._file.is_file():
            saved = read_json(self._file)
            if saved["of"] != inputs:
                raise InputError(f"{part} was started with other texts or another teacher; choose another file")
            self.texts, self.bytes = saved["texts"], saved["bytes"]

    def save(self, texts: int, size: int) -> None:
        replace(self._file, json.dumps({"of": self._inputs, "texts": texts, "bytes": size}))

    def remove(self) -> None:
        self._file.unlink(missing_ok=True)


def _write(
    file: TextIO, examples: list[Example], teacher: "_Teacher", tokenizer: Tokenizer, rng: random.Random
) -> None:
    readings = [_read(example, tokenizer, rng) for example in examples]
    texts = [passage for reading in readings for passage in reading.passages]
    scores, tokens = teacher.scores(texts)
    start = 0
    for reading in readings:
        end = start + len(reading.passages)
        mean = np.average(scores[start:end], axis=0, weights=tokens[start:end])
        for text in dict.fromkeys((reading.example.text, reading.plain)):
            _write_row(file, text, reading.example.label, reading.example.source, teacher.by_label(mean))
        if len(reading.passages) > 1:
            for passage, each in zip(reading.passages, scores[start:end], strict=True):
                _write_row(file, passage, None, f"{reading.example.source}_passages", teacher.by_label(each))
        start = end


def _read(example: Example, tokenizer: Tokenizer, rng: random.Random) -> _Reading:
    plain = detokenise(example.text)
    return _Reading(example, plain, split_passages(plain, tokenizer, rng))


def _write_row(file: TextIO, text: str, label: str | None, source: str, scores: dict[str, float]) -> None:
    row = {"text": text, "label": label, "source": source, "scores": scores}
    file.write(json.dumps(row, ensure_ascii=False) + "\n")


class _Teacher:
    """A classifier that scores any number of texts, in batches of similar length."""

    def __init__(self, checkpoint: Path, tokenizer: Tokenizer, device: Device) -> None:
        self._model = device.load(checkpoint).eval()
        artifact = open_artifact(str(checkpoint))
        self._labels, self._temperature = artifact.labels, artifact.temperature
        self._tokenizer = tokenizer
        self._device = device

    def by_label(self, scores: NDArray[np.float64]) -> dict[str, float]:
        return {label: round(float(score), 4) for label, score in zip(self._labels, scores, strict=True)}

    def scores(self, texts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the probabilities, of shape (texts, labels), and the number of tokens of each text."""
        encodings = self._tokenizer.encode_many(texts)
        tokens = np.array([len(encoding) for encoding in encodings])
        scores = np.empty((len(texts), len(self._labels)))
        for batch in group_by_length(tokens.tolist(), len(texts), _BATCH_TOKENS):
            scores[batch] = softmax(self._logits([encodings[index] for index in batch]), self._temperature)
        return scores, tokens

    def _logits(self, encodings: list[Encoding]) -> NDArray[np.float32]:
        batch = pad(encodings, self._model.config.pad_token_id)
        ids, mask = self._device.put(batch.input_ids), self._device.put(batch.attention_mask)
        with torch.inference_mode(), self._device.autocast():
            logits: NDArray[np.float32] = self._model(input_ids=ids, attention_mask=mask).logits.float().cpu().numpy()
        return logits
