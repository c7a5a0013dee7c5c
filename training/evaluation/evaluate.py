"""`python -m training evaluate`: measure models on labelled text.

A target is a model directory, which runs on PyTorch or ONNX Runtime, or the URL of a running server. If the server
requires an API key, set the environment variable EVALUATE_API_KEY.
"""

import argparse
import json
from pathlib import Path

from training.data import add_layout_arguments, read_tables
from training.evaluation.depth import depth_table
from training.evaluation.evaluation import as_json, evaluate_target
from training.evaluation.pages import write_confusion
from training.evaluation.predictions import write_mistakes, write_predictions
from training.evaluation.tables import classes, confusions, overview
from training.evaluation.targets import open_targets


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "targets",
        nargs="+",
        metavar="TARGET",
        help="model directory, or URL of a server (API key: environment variable EVALUATE_API_KEY)",
    )
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="SOURCE", help="labelled text (formats: docs/training.md)"
    )
    add_layout_arguments(parser)
    parser.add_argument(
        "--backend", choices=("onnx", "torch"), help="backend for directories (default: each one that works here)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    parser.add_argument(
        "--plots", type=Path, metavar="DIRECTORY", help="write reliability diagrams and confusion matrices to DIRECTORY"
    )
    parser.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE",
        help="write every text with the answer of the first target to FILE, as CSV",
    )
    parser.add_argument(
        "--mistakes",
        type=Path,
        metavar="DIRECTORY",
        help="write the worst mistakes of the first target as mistakes.csv and mistakes.html, and confusion.html",
    )


def main(args: argparse.Namespace) -> None:
    targets = [target for name in args.targets for target in open_targets(name, args.backend)]
    examples = read_tables(args.data, args, names=targets[0].labels).rows
    evaluations = [evaluate_target(target, examples) for target in targets]
    print(overview(evaluations))
    for name in args.targets:
        if "://" not in name and args.backend != "torch" and (table := depth_table(name, examples)):
            print(f"\nBy depth: {name}\n{table}")
    print(confusions(evaluations))
    for evaluation in evaluations:
        for name, report in evaluation.reports.items():
            print(f"\n{name}: {evaluation.target}\n{classes(report)}")
    first = evaluations[0]
    if args.predictions:
        write_predictions(first, args.predictions)
    if args.mistakes:
        write_mistakes(first, args.mistakes, f"Worst mistakes of {first.target}")
        write_confusion(first, args.mistakes / "confusion.html", f"Confusion matrix of {first.target}")
    if args.json:
        args.json.write_text(json.dumps(as_json(evaluations), indent=2) + "\n")
    if args.plots:
        from training.evaluation.plots import draw_evaluations  # matplotlib is optional here

        draw_evaluations(evaluations, args.plots)
