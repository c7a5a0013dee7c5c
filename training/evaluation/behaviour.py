"""`python -m training behaviour`: a test suite on negation, contrast, questions, names, emoji and more.

It follows CheckList (Ribeiro et al. 2020). `cases.py` explains the cases, and the folder `suite` holds them. Do not
train on its sentences, and do not tune a model to it.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.inference.text import normalise
from training.data import LABELS
from training.errors import InputError
from training.evaluation.cases import KINDS, Case, read_cases
from training.evaluation.targets import open_targets

# texts → probabilities of shape (texts, labels), in the order of LABELS
Score = Callable[[list[str]], NDArray[np.floating]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case with its result: the predicted label and scores of its text, and the scores of its original."""

    case: Case
    passed: bool
    predicted: str
    scores: dict[str, float]
    before: dict[str, float] | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", help="name of the embedded model, directory of an artifact, or URL of a server")
    parser.add_argument(
        "--backend", choices=("onnx", "torch"), help="backend for a directory (default: onnx if it has an ONNX file)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every case with its result to FILE")
    parser.add_argument(
        "--failures", type=int, default=3, metavar="N", help="failures to show per capability (default: %(default)s)"
    )
    parser.add_argument("--capability", metavar="NAME", help="run only this capability")


def main(args: argparse.Namespace) -> None:
    cases = read_cases()
    names = sorted({case.capability for case in cases})
    if args.capability and args.capability not in names:
        raise InputError(f"unknown capability {args.capability}; use one of {', '.join(names)}")
    outcomes = judge(
        scorer(args.target, args.backend), [case for case in cases if args.capability in (None, case.capability)]
    )
    print(failures(outcomes, args.failures) + table(outcomes))
    if args.json:
        report = {"target": args.target, "rates": rates(outcomes), "outcomes": [asdict(each) for each in outcomes]}
        args.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def scorer(target: str, backend: str | None = None) -> Score:
    """Return a function that scores texts as the service does: with a server, or with a model loaded here."""
    opened = open_targets(target, backend)[0]
    if set(opened.labels) != set(LABELS):
        raise InputError(
            f"{opened.name} has the labels {', '.join(opened.labels)}; the suite needs {', '.join(LABELS)}"
        )
    order = [opened.labels.index(label) for label in LABELS]
    return lambda texts: opened.score([normalise(text) for text in texts])[:, order]


def judge(score: Score, cases: Sequence[Case]) -> list[Outcome]:
    """Score every sentence once and compare each case with its expectation."""
    texts = list(dict.fromkeys(text for case in cases for text in (case.original, case.text) if text))
    scores = dict(zip(texts, np.asarray(score(texts), dtype=float).tolist(), strict=True))
    return [_outcome(case, scores[case.text], scores.get(case.original)) for case in cases]


def _outcome(case: Case, after: list[float], before: list[float] | None) -> Outcome:
    label = _best(after)
    if case.kind == "MFT":
        passed = label in case.allowed
    elif case.kind == "INV":
        passed = label == _best(before)
    else:
        column = LABELS.index(case.score)
        passed = case.sign * (after[column] - before[column]) >= case.least
    return Outcome(case, passed, label, _named(after), _named(before) if before else None)


def _best(scores: list[float]) -> str:
    return LABELS[int(np.argmax(scores))]


def _named(scores: list[float]) -> dict[str, float]:
    return {label: round(score, 4) for label, score in zip(LABELS, scores, strict=True)}


def rates(outcomes: Iterable[Outcome]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the pass rate of each capability, and of `total`, by kind, and for `all` kinds."""
    counts: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for outcome in outcomes:
        for capability in (outcome.case.capability, "total"):
            for kind in (outcome.case.kind, "all"):
                counts[capability][kind].append(outcome.passed)
    order = sorted(counts, key=lambda capability: (capability == "total", capability))
    return {capability: {kind: _rate(passed) for kind, passed in counts[capability].items()} for capability in order}


def _rate(passed: list[bool]) -> dict[str, float]:
    return {"passed": sum(passed), "cases": len(passed), "rate": round(sum(passed) / len(passed), 4)}


def table(outcomes: Iterable[Outcome]) -> str:
    """Return the pass rates in percent, with counts, as an aligned table."""
    kinds = (*KINDS, "all")
    lines = [f"{'capability':<14}" + "".join(f"{kind:>18}" for kind in kinds)]
    for capability, by_kind in rates(outcomes).items():
        cells = (_cell(by_kind.get(kind)) for kind in kinds)
        lines.append(f"{capability:<14}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines)


def _cell(rate: dict[str, Any] | None) -> str:
    return f"{rate['passed']}/{rate['cases']} {100 * rate['rate']:6.1f}" if rate else "-"


def failures(outcomes: Iterable[Outcome], most: int) -> str:
    """Return the first `most` failures of each capability, with expectation and result."""
    lines, shown = [], defaultdict(int)
    for outcome in outcomes:
        case = outcome.case
        if outcome.passed or shown[case.capability] >= most:
            continue
        if not shown[case.capability]:
            lines.append(case.capability)
        shown[case.capability] += 1
        score = outcome.scores[case.score or outcome.predicted]
        before = f", {outcome.before[case.score]:.2f} before" if case.score and outcome.before else ""
        lines += [f"  {case.kind} {case.name}: {case.text}", f"      expected {case.expectation}"]
        lines.append(f"      got {case.score or outcome.predicted} {score:.2f}{before}")
    return "\n".join([*lines, "", ""]) if lines else ""
