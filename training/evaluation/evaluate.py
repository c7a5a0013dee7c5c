"""`python -m training evaluate`: measure models on labelled text.

A target is a model directory, which runs on PyTorch or ONNX Runtime, or the URL of a running server. If the server
requires an API key, set the environment variable EVALUATE_API_KEY.
"""

import argparse
import json
from pathlib import Path

from training.data import add_layout_arguments, read_tables
from training.evaluation.evaluation import as_json, evaluate_target
from training.evaluation.tables import confusions, overview
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


def main(args: argparse.Namespace) -> None:
    targets = [target for name in args.targets for target in open_targets(name, args.backend)]
    examples = read_tables(args.data, args, names=targets[0].labels).rows
    evaluations = [evaluate_target(target, examples) for target in targets]
    print(overview(evaluations))
    print(confusions(evaluations))
    if args.json:
        args.json.write_text(json.dumps(as_json(evaluations), indent=2) + "\n")
    if args.plots:
        from training.evaluation.plots import draw_evaluations  # matplotlib is optional here

        draw_evaluations(evaluations, args.plots)
