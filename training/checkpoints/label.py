"""`python -m training label`: a teacher's scores on all text at hand, for a small model to learn from.

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
from app.inference.batches import like_lengths
from app.inference.packing import pad
from app.inference.runner import softmax
from app.inference.tokenizer import Tokenizer
from app.types import Encoding
from training.checkpoints.device import Device
from training.data import Example, detokenise, read_all, split_passages
from training.errors import InputError
from training.files import checksum, making, read_json, replace

_EXAMPLES_AT_ONCE = 2048  # sorted by length and saved together
_BATCH_TOKENS = 1536
_MAX_TOKENS = 128  # of a passage; only a word without an end has more


@dataclass(frozen=True, slots=True)
class _Reading:
    """An example in ordinary spelling, as passages."""

    example: Example
    plain: str
    passages: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `python -m training label`."""
    parser.add_argument("teacher", type=Path, help="directory of a checkpoint")
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="SOURCE", help="text: see training/data/examples.py"
    )
    parser.add_argument("--out", type=Path, required=True, help="a new .jsonl file; an interrupted labelling goes on")


def main(args: argparse.Namespace) -> None:
    """Label as the command line says."""
    label_texts(args.teacher, args.out, read_all(args.data))


def label_texts(teacher: Path, out: Path, examples: Sequence[Example], seed: int = 7) -> None:
    """Write to `out`, as JSON lines, every distinct text of `examples` with the scores of the classifier at `teacher`.

    They are those that it would be served with: a temperature that it was calibrated with counts.

    A text in Penn tokens comes a second time in ordinary spelling. A long text comes as passages, which have scores but
    no label, since what a review says as a whole a passage of it need not say, and as a whole, with the average of its
    passages' scores by length. What an interrupted labelling has written stays; raises `InputError` when that was of
    other texts or another teacher, or when there is an `out` already.
    """
    with making(out) as part:
        bookmark = _Bookmark(part, {"teacher": sha256(teacher / "model.safetensors"), "texts": checksum(examples)})
        tokenizer = Tokenizer.load(teacher, _MAX_TOKENS)
        first: dict[str, Example] = {}
        for example in examples:
            first.setdefault(example.text, example)
        distinct = list(first.values())
        scorer = _Teacher(teacher, tokenizer, Device())
        bar = tqdm(total=len(distinct), initial=bookmark.texts, unit="text", mininterval=10)
        with part.open("a", encoding="utf-8") as file, bar:
            file.truncate(bookmark.bytes)
            for start in range(bookmark.texts, len(distinct), _EXAMPLES_AT_ONCE):
                chunk = distinct[start : start + _EXAMPLES_AT_ONCE]
                _write(file, chunk, scorer, tokenizer, random.Random(seed + start))
                file.flush()
                bookmark.put(start + len(chunk), file.tell())
                bar.update(len(chunk))
    bookmark.remove()


class _Bookmark:
    """How many texts are labelled and how large the file is with them, kept beside it until it is complete."""

    def __init__(self, part: Path, of: Mapping[str, str]) -> None:
        self._file = part.with_suffix(".bookmark")
        self._of = of
        self.texts, self.bytes = 0, 0
        if part.is_file() and self._file.is_file():
            stated = read_json(self._file)
            if stated["of"] != of:
                raise InputError(f"{part} was begun with other texts or another teacher; name another file")
            self.texts, self.bytes = stated["texts"], stated["bytes"]

    def put(self, texts: int, size: int) -> None:
        """Note that so many texts are in the file."""
        replace(self._file, json.dumps({"of": self._of, "texts": texts, "bytes": size}))

    def remove(self) -> None:
        """The file is complete."""
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
        whole = np.average(scores[start:end], axis=0, weights=tokens[start:end])
        for text in dict.fromkeys((reading.example.text, reading.plain)):
            _put(file, text, reading.example.label, reading.example.source, teacher.named(whole))
        if len(reading.passages) > 1:
            for passage, each in zip(reading.passages, scores[start:end], strict=True):
                _put(file, passage, None, f"{reading.example.source}_passages", teacher.named(each))
        start = end


def _read(example: Example, tokenizer: Tokenizer, rng: random.Random) -> _Reading:
    plain = detokenise(example.text)
    return _Reading(example, plain, split_passages(plain, tokenizer, rng))


def _put(file: TextIO, text: str, label: str | None, source: str, scores: dict[str, float]) -> None:
    row = {"text": text, "label": label, "source": source, "scores": scores}
    file.write(json.dumps(row, ensure_ascii=False) + "\n")


class _Teacher:
    """A classifier that scores texts of any number, those of like length together."""

    def __init__(self, checkpoint: Path, tokenizer: Tokenizer, device: Device) -> None:
        self._model = device.load(checkpoint).eval()
        artifact = open_artifact(str(checkpoint))
        self._labels, self._temperature = artifact.labels, artifact.temperature
        self._tokenizer = tokenizer
        self._device = device

    def named(self, scores: NDArray[np.float64]) -> dict[str, float]:
        """The scores of one text by label."""
        return {label: round(float(score), 4) for label, score in zip(self._labels, scores, strict=True)}

    def scores(self, texts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the probabilities, of shape (texts, labels), and the number of tokens of each text."""
        encodings = self._tokenizer.encode_many(texts)
        tokens = np.array([len(encoding) for encoding in encodings])
        scores = np.empty((len(texts), len(self._labels)))
        for chosen in like_lengths(tokens.tolist(), len(texts), _BATCH_TOKENS):
            scores[chosen] = softmax(self._logits([encodings[index] for index in chosen]), self._temperature)
        return scores, tokens

    def _logits(self, encodings: list[Encoding]) -> NDArray[np.float32]:
        batch = pad(encodings, self._model.config.pad_token_id)
        ids, mask = self._device.put(batch.input_ids), self._device.put(batch.attention_mask)
        with torch.inference_mode(), self._device.autocast():
            logits: NDArray[np.float32] = self._model(input_ids=ids, attention_mask=mask).logits.float().cpu().numpy()
        return logits
