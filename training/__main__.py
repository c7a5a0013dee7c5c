"""`python -m training convert | train | evaluate`: the commands, in the order in which they are used."""

import argparse
import json
from dataclasses import fields
from pathlib import Path

from training.convert import convert
from training.evaluate import evaluate, server_scorer, torch_scorer
from training.examples import read
from training.train import Recipe, train


def main() -> None:
    """Parse the command line and run one step."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)

    step = steps.add_parser("convert", help="make a DistilBERT classifier from a pretrained BERT encoder")
    step.add_argument("encoder", type=Path, help="directory with config.json, model.safetensors, tokenizer.json")
    step.add_argument("--data", type=Path, required=True, help="text that decides which word pieces stay")
    step.add_argument("--vocabulary", type=int, default=21_000, help="word pieces to keep (%(default)s)")
    step.add_argument("--out", type=Path, required=True)

    step = steps.add_parser("train", help="fine-tune a classifier on labelled text")
    step.add_argument("checkpoint", type=Path)
    step.add_argument("--data", type=Path, required=True, help="a .tsv file with label and text, or a directory")
    step.add_argument("--dev", type=Path, required=True, help="the same, to measure on")
    step.add_argument("--out", type=Path, required=True)
    for field in fields(Recipe):
        kind = type(field.default)
        flag = "--" + field.name.replace("_", "-")
        step.add_argument(flag, type=kind, default=field.default, help="(%(default)s)")

    step = steps.add_parser("evaluate", help="measure a checkpoint, or a running server, on labelled text")
    step.add_argument("model", help="directory of a checkpoint, or http://… of a server")
    step.add_argument("--dev", type=Path, required=True)

    args = parser.parse_args()
    if args.step == "convert":
        convert(args.encoder, args.out, read(args.data), args.vocabulary)
    elif args.step == "train":
        recipe = Recipe(**{field.name: getattr(args, field.name) for field in fields(Recipe)})
        train(args.checkpoint, args.out, read(args.data), read(args.dev), recipe)
    else:
        is_server = args.model.startswith("http")
        scorer = server_scorer(args.model.rstrip("/")) if is_server else torch_scorer(Path(args.model))
        print(json.dumps(evaluate(scorer, read(args.dev)), indent=2))


if __name__ == "__main__":
    main()
