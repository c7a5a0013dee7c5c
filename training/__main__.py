"""`python -m training convert | label | train | evaluate`: the commands, in the order in which they are used."""

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path

from training.convert import convert
from training.evaluate import evaluate, server_scorer, torch_scorer
from training.examples import Example, read
from training.label import label
from training.recipe import Recipe, read_recipe
from training.train import Interrupted, train

# Everything but the weights of the sets, which only a file can state.
_FLAGS = [field for field in fields(Recipe) if field.name != "weights"]


def main() -> None:
    """Parse the command line and run one step."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)

    step = steps.add_parser("convert", help="make a classifier of a pretrained encoder; a BERT becomes a DistilBERT")
    step.add_argument("encoder", type=Path, help="directory with config.json, model.safetensors, tokenizer.json")
    step.add_argument("--data", type=Path, nargs="+", default=[], help="text that decides which word pieces stay")
    step.add_argument("--vocabulary", type=int, default=0, help="word pieces to keep (all)")
    step.add_argument("--out", type=Path, required=True)

    step = steps.add_parser("label", help="write down a teacher's scores on all texts, for a small model to learn from")
    step.add_argument("teacher", type=Path, help="directory of a checkpoint")
    step.add_argument("--data", type=Path, nargs="+", required=True)
    step.add_argument("--out", type=Path, required=True, help="a .jsonl file; an interrupted run goes on")

    step = steps.add_parser("train", help="fine-tune a classifier on labelled text; an interrupted run goes on")
    step.add_argument("checkpoint", type=Path)
    step.add_argument("--data", type=Path, nargs="+", required=True)
    step.add_argument("--dev", type=Path, nargs="+", required=True, help="the same, to measure on")
    step.add_argument("--out", type=Path, required=True, help="directory of the run")
    step.add_argument("--recipe", type=Path, help="a TOML file; flags go before it")
    for field in _FLAGS:
        flag = "--" + field.name.replace("_", "-")
        step.add_argument(flag, type=type(field.default), help=f"({field.default})")

    step = steps.add_parser("evaluate", help="measure a checkpoint, or a running server, on labelled text")
    step.add_argument("model", help="directory of a checkpoint, or http://… of a server")
    step.add_argument("--dev", type=Path, nargs="+", required=True)

    args = parser.parse_args()
    try:
        run(args)
    except (ValueError, Interrupted) as error:
        sys.exit(str(error))


def run(args: argparse.Namespace) -> None:
    """Run the step that was asked for."""
    if args.step == "convert":
        convert(args.encoder, args.out, _read(args.data), args.vocabulary)
    elif args.step == "label":
        label(args.teacher, args.out, _read(args.data))
    elif args.step == "train":
        recipe = read_recipe(args.recipe, **{field.name: getattr(args, field.name) for field in _FLAGS})
        train(args.checkpoint, args.out, _read(args.data), _read(args.dev), recipe)
    else:
        is_server = args.model.startswith("http")
        scorer = server_scorer(args.model.rstrip("/")) if is_server else torch_scorer(Path(args.model))
        print(json.dumps(evaluate(scorer, _read(args.dev)), indent=2))


def _read(sources: list[Path]) -> list[Example]:
    return [example for source in sources for example in read(source)]


if __name__ == "__main__":
    main()
