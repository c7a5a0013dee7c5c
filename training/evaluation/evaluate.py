"""How good models are on labelled text: `python -m training evaluate TARGET… --data PATH…`.

A target is a model directory, by PyTorch or ONNX Runtime, or the address of a running server, whose key, where it asks
for one, is in the environment as EVALUATE_API_KEY.
"""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.data.examples import Example, check_labels, read_all
from training.errors import InputError
from training.evaluation.measure import Report, Scored, measure, pool, score
from training.evaluation.tables import confusions, overview
from training.evaluation.targets import BATCH_SIZE, Target, open_targets

ALL = "all"  # the rows of all sets together, each over the classes of its own set


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one target made of every set: the figures by set, and the best class of each text over all classes."""

    target: str
    labels: tuple[str, ...]
    reports: dict[str, Report]
    answers: dict[str, list[str]]

    def other_labels(self, reference: "Evaluation") -> dict[str, float]:
        """Share of the texts of each set that `reference` gives another label."""
        return {
            name: float(np.mean([mine != theirs for mine, theirs in zip(found, reference.answers[name], strict=True)]))
            for name, found in self.answers.items()
        }


def evaluate(target: Target, examples: Sequence[Example]) -> Evaluation:
    """Score every set among `examples`; raise `InputError` for a label that the target lacks, or a row without one."""
    check_labels(examples, target.labels, f"{target.name} has")
    scored: dict[str, Scored] = {}
    for name in sorted({example.source for example in examples}):
        members = [example for example in examples if example.source == name]
        truth = [target.labels.index(str(example.label)) for example in members]
        scored[name] = score(target.score([example.text for example in members]), truth)
    if ALL in scored:
        raise InputError(f"no set may be called {ALL}, as the rows of all sets are")
    if len(scored) > 1:
        scored[ALL] = pool(list(scored.values()))
    return Evaluation(
        target.name,
        target.labels,
        {name: measure(rows, target.labels) for name, rows in scored.items()},
        {name: [target.labels[best] for best in rows.over_all.argmax(axis=1)] for name, rows in scored.items()},
    )


def plain(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Everything, for JSON. `other_labels` is the share of texts that the first target gives another label."""
    return [
        {
            "target": evaluation.target,
            "labels": evaluation.labels,
            "sets": {
                name: asdict(report) | {"other_labels": evaluation.other_labels(evaluations[0])[name]}
                for name, report in evaluation.reports.items()
            },
        }
        for evaluation in evaluations
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `main`."""
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="model directory, or http://… of a server")
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="PATH", help="labelled text: see training.data.examples"
    )
    parser.add_argument("--backend", choices=("onnx", "torch"), help="for directories; each that works if not given")
    parser.add_argument(
        "--batch-size", type=int, default=BATCH_SIZE, help="texts run at once, for directories (%(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument("--plots", type=Path, metavar="DIRECTORY", help="draw calibration and confusion there")


def main(args: argparse.Namespace) -> None:
    """Print the tables."""
    targets = [target for name in args.targets for target in open_targets(name, args.backend, args.batch_size)]
    examples = read_all(args.data, names=targets[0].labels)
    evaluations = [evaluate(target, examples) for target in targets]
    print(overview(evaluations))
    print(confusions(evaluations))
    if args.json:
        args.json.write_text(json.dumps(plain(evaluations), indent=2) + "\n")
    if args.plots:
        draw(evaluations, args.plots)


def draw(evaluations: Sequence[Evaluation], directory: Path) -> None:
    """Write two pictures of each target: how far its confidence can be trusted, and what it mistakes for what."""
    from training.evaluation.plots import (  # not everyone who measures has matplotlib
        confusion_matrices,
        reliability_diagram,
    )

    directory.mkdir(parents=True, exist_ok=True)
    for evaluation in evaluations:
        target = re.sub(r"\W+", "-", evaluation.target.removeprefix("http://")).strip("-")
        prefix = f"{target}-" if len(evaluations) > 1 else ""
        reliability_diagram(evaluation.reports, directory / f"{prefix}reliability.png")
        confusion_matrices(evaluation.reports, directory / f"{prefix}confusion.png")
