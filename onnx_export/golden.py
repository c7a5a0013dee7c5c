"""Write the golden texts and the development distributions of an artifact again, without a new export.

Golden texts are held-out texts with the answers of the model, with which each server that loads it can check its own.
The development distributions are the shares of labels, confidences and lengths, with which those in production are
compared. Weights stay as they are.
"""

import argparse
import hashlib
import json
import logging
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import SentimentError
from app.inference.artifact import open_artifact
from app.inference.development import TOKEN_EDGES, Development, measure_development
from app.inference.files import GOLDEN, MANIFEST
from app.inference.golden import GoldenText, render_golden
from app.inference.model import Model, load_model
from app.inference.text import normalise
from app.types import Prediction
from onnx_export.manifest import describe
from onnx_export.samples import evenly, samples_of, texts_of
from training.data import add_layout_arguments, read_tables
from training.errors import InputError
from training.files import read_json, replace

SUITE = "suite"  # instead of the name of a file: sentences of the behavioural suite
_NUMBER, _FEWEST = 48, 32
_MEASURED_TEXTS = 2000
_EACH_LENGTH = 2  # golden texts of each length, where there are any
# A golden text has at most this many tokens and characters: all of them run again every few minutes.
_LONGEST_TOKENS, _LONGEST_CHARS = 512, 3000
# Differences between the scores of the best two labels. Texts below the first may get another label on another
# processor, so they are taken last; texts above the second are all equally good.
_DOUBTFUL, _CLEAR = 0.1, 0.5
# Between the scores after an exit and after all layers. A golden text should hold for servers without exits, too.
_STEADY = 0.02


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    tokens: int
    prediction: Prediction
    is_steady: bool = True  # its exit says what all layers say

    @property
    def margin(self) -> float:
        best, second = sorted(self.prediction.scores.values(), reverse=True)[:2]
        return best - second

    @property
    def order(self) -> tuple[bool, float, bytes]:
        """The clearer texts first; the order of clear ones is random, and the same each time."""
        return not self.is_steady, -min(self.margin, _CLEAR), hashlib.sha256(self.text.encode()).digest()


def main(argv: list[str] | None = None) -> None:
    """Run the command line; on an error, exit with code 1 and change nothing."""
    parser = argparse.ArgumentParser(prog="python -m onnx_export.golden", description=__doc__)
    parser.add_argument("artifact", type=Path, help="directory that the exporter has written, which is changed")
    parser.add_argument(
        "--dev",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="held-out text, like the text that will be served (formats: docs/training.md; default: sentences of the "
        "behavioural suite)",
    )
    add_golden_argument(parser)
    add_layout_arguments(parser)
    parser.add_argument("--version", help="another version for the manifest (default: the one that it has)")
    args = parser.parse_args(argv)
    logging.root.setLevel(logging.WARNING)
    try:
        rows = read_tables(args.dev, args, labelled=False).rows if args.dev else []
        held_out = texts_of(samples_of(rows))
        texts, development = rewrite(args.artifact, held_out, read_golden_source(args), version=args.version)
    except (SentimentError, InputError, OSError, MemoryError) as error:
        sys.exit(f"nothing was written: {str(error) or type(error).__name__}")
    print(f"{args.artifact / GOLDEN}: {len(texts)} texts, {_count_labels(texts)}")
    print(f"{args.artifact / MANIFEST}: the distributions of {development.texts:,} texts")


def add_golden_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag. `read_golden_source` takes it."""
    parser.add_argument(
        "--golden",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help=f"text to choose the golden texts from, which become part of the artifact; {SUITE} means sentences of the "
        "behavioural suite (default: that of --dev)",
    )


def read_golden_source(args: argparse.Namespace) -> list[str]:
    """Return the texts that the golden texts are to be chosen from; none if they are the held-out texts."""
    if args.golden == [SUITE]:
        return texts_of(samples_of([]))
    return [example.text for example in read_tables(args.golden, args, labelled=False).rows] if args.golden else []


def rewrite(
    artifact: Path, held_out: Sequence[str], golden: Sequence[str] = (), *, version: str | None = None
) -> tuple[list[GoldenText], Development]:
    """Replace the golden texts and the development distributions of an artifact; see `hold_out`.

    A crash in between leaves an artifact without golden texts, never one that is corrupt.
    """
    directory = open_artifact(str(artifact)).directory
    manifest = directory / MANIFEST
    if not manifest.is_file():
        raise InputError(f"{artifact} has no {MANIFEST}; export it first, with python -m onnx_export")
    texts, development = hold_out(directory, held_out, golden)
    record = read_json(manifest)
    files = {name: entry for name, entry in record["files"].items() if name != GOLDEN}
    bare = {name: value for name, value in record.items() if name not in ("files", "development")}
    _write(manifest, bare | {"files": files})
    replace(directory / GOLDEN, render_golden(texts))
    listed = dict(sorted((files | {GOLDEN: describe(directory / GOLDEN)}).items()))
    stated = {"version": version} if version else {}
    _write(manifest, record | stated | {"files": listed, "development": development.render()})
    return texts, development


def hold_out(
    directory: Path, held_out: Sequence[str], golden: Sequence[str] = ()
) -> tuple[list[GoldenText], Development]:
    """Return golden texts for the artifact in `directory`, and the distributions of its answers to `held_out`.

    Golden texts are chosen from `golden`, or else from `held_out`. Answers are those of the precision that is served
    on a CPU, each text alone. Raises `InputError` if no text has a visible character.
    """
    model = load_model(str(directory), backend="onnx", device="cpu")
    whole = load_model(str(directory), backend="onnx", device="cpu", depth="full") if model.info.exits else None
    development = measure_held_out(model, held_out)
    chosen = choose(model, golden or held_out, whole)
    if not chosen:
        raise InputError("no text for golden texts has a visible character")
    if len(chosen) < _FEWEST:
        print(f"only {len(chosen)} golden texts, for lack of held-out texts; {_FEWEST} are better", file=sys.stderr)
    return chosen, development


def measure_held_out(model: Model, texts: Sequence[str]) -> Development:
    """Return the distributions of a model's answers. Raises `InputError` if no text has a visible character."""
    measured = _answer(model, evenly([text for text in texts if normalise(text)], _MEASURED_TEXTS))
    if not measured:
        raise InputError("no held-out text has a visible character")
    return measure_development(
        model.artifact.labels, [each.prediction for each in measured], [each.tokens for each in measured]
    )


def choose(model: Model, texts: Sequence[str], whole: Model | None = None) -> list[GoldenText]:
    """Return golden texts from `texts`: of all labels and lengths, clear ones first, always the same ones.

    Long texts are cut, and for lengths that no text has, texts are joined. `whole` is the same model without exits, if
    it has some: texts that get another answer there are taken last.
    """
    longest = min(model.artifact.max_tokens, _LONGEST_TOKENS)
    usable = dict.fromkeys(_cut(model, text, longest) for text in evenly(texts, _MEASURED_TEXTS))
    answers = _answer(model, [text for text in usable if normalise(text)], whole)
    joined = dict.fromkeys(_join(model, answers, longest))
    answers = sorted(
        [*answers, *_answer(model, [text for text in joined if text not in usable], whole)], key=lambda each: each.order
    )
    chosen: list[_Answer] = []
    for number in range(len(TOKEN_EDGES) + 1):
        _take(chosen, [each for each in answers if _length(each) == number], _EACH_LENGTH)
    _take(chosen, answers, _NUMBER - len(chosen))
    return [
        GoldenText(each.text, each.prediction.label, round(each.prediction.confidence, 4))
        for each in sorted(chosen, key=lambda each: (each.tokens, each.text))
    ]


def _answer(model: Model, texts: Sequence[str], whole: Model | None = None) -> list[_Answer]:
    predictions = model.predict(texts, batch_size=1)
    late = whole.predict(texts, batch_size=1) if whole else predictions
    steady = [
        early.label == each.label and abs(early.confidence - each.confidence) <= _STEADY
        for early, each in zip(predictions, late, strict=True)
    ]
    encodings = model.tokenizer.encode_many([normalise(text) for text in texts])
    return [_Answer(*each) for each in zip(texts, map(len, encodings), predictions, steady, strict=True)]


def _take(chosen: list[_Answer], answers: Iterable[_Answer], number: int) -> None:
    """Add up to `number` of `answers`, which are in their order, to `chosen`: first of the labels that it has least."""
    rest = [each for each in answers if each not in chosen]
    counts = Counter(each.prediction.label for each in chosen)
    for _ in range(min(number, len(rest))):
        best = min(rest, key=lambda each: (not each.is_steady, each.margin < _DOUBTFUL, counts[each.prediction.label]))
        rest.remove(best)
        chosen.append(best)
        counts[best.prediction.label] += 1


def _join(model: Model, answers: Sequence[_Answer], longest: int) -> list[str]:
    """Return texts for each length that too few of `answers` have: several with the same label, one after the other."""
    by_label: dict[str, list[str]] = {}
    for each in sorted(answers, key=lambda each: each.order):
        by_label.setdefault(each.prediction.label, []).append(each.text)
    present = Counter(map(_length, answers))
    joined: list[str] = []
    for number, (shortest, above) in enumerate(zip((1, *TOKEN_EDGES), (*TOKEN_EDGES, longest + 1), strict=True)):
        for _ in range(_EACH_LENGTH - present[number] if shortest <= longest else 0):
            # The labels take turns, each time from another text on; one with too few texts is skipped.
            for turn in range(len(joined), len(joined) + 2 * len(by_label)):
                parts = [*by_label.values()][turn % len(by_label)]
                start = turn % len(parts)
                text = _cut(model, " ".join([*parts[start:], *parts[:start]]), min(above - 1, longest))
                if text not in joined and shortest <= _tokens(model, text):
                    joined.append(text)
                    break
    return joined


def _cut(model: Model, text: str, most_tokens: int) -> str:
    """Return the beginning of a text that has at most `most_tokens` tokens, if possible without a part of a word."""
    text = text.encode(errors="ignore").decode()  # half a surrogate pair cannot be written to a file
    if len(text) > _LONGEST_CHARS:
        text = _before(text, _LONGEST_CHARS)
    while text and (tokens := _tokens(model, text)) > most_tokens:
        text = _before(text, len(text) * most_tokens // tokens)
    return text.strip()


def _before(text: str, end: int) -> str:
    return text[:end].rpartition(" ")[0] or text[:end]


def _tokens(model: Model, text: str) -> int:
    """Return the tokens of a text that is not cut."""
    return sum(map(len, model.tokenizer.encode_windows([normalise(text)])[0]))


def _length(answer: _Answer) -> int:
    """Return the number of the bin of its tokens."""
    return bisect_right(TOKEN_EDGES, answer.tokens)


def _write(manifest: Path, record: dict[str, Any]) -> None:
    replace(manifest, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def _count_labels(texts: Sequence[GoldenText]) -> str:
    counts = Counter(each.label for each in texts)
    return ", ".join(f"{counts[label]} {label}" for label in sorted(counts))


if __name__ == "__main__":
    main()
