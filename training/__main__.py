"""`python -m training STEP`: the command line of all steps."""

import argparse
import importlib
import sys

from app.errors import SentimentError
from training.errors import InputError, UsageError

# Each step is a module with `add_arguments(parser)` and `main(args)`. It is imported only when it runs, so that
# measuring a server does not need PyTorch.
STEPS = {
    "all": (
        "training.workflow.command",
        "Do everything for one table: report, split, train, calibrate, measure and export (rt-sentiment train).",
    ),
    "report": (
        "training.data.report",
        "Look through labelled text: rows that cannot be used, labels, duplicates, contradictions, long texts.",
    ),
    "split": (
        "training.data.split",
        "Divide labelled text into rows to train on and rows to measure on.",
    ),
    "encoder": (
        "training.checkpoints.encoder",
        "Fetch the plain encoder, from which labels other than sentiment are best trained.",
    ),
    "convert": (
        "training.checkpoints.convert",
        "Make a classifier from a pretrained encoder (a BERT becomes a DistilBERT).",
    ),
    "templates": (
        "training.data.templates",
        "Generate labelled sentences from a grammar: negation, contrast, facts, emoji and more.",
    ),
    "splices": (
        "training.data.splices",
        "Generate unlabelled sentences by exchanging phrases between the texts of a set.",
    ),
    "label": (
        "training.checkpoints.label",
        "Score texts with a teacher model, so that a smaller model can learn from its scores.",
    ),
    "train": (
        "training.fit.train",
        "Fine-tune a classifier on labelled text.",
    ),
    "cross-validate": (
        "training.workflow.cross_validate",
        "Train several times, so that every row is measured on once.",
    ),
    "sweep": (
        "training.workflow.sweep",
        "Try other settings than those that are chosen, and compare them.",
    ),
    "average": (
        "training.checkpoints.average",
        "Average the weights of several checkpoints of the same model.",
    ),
    "calibrate": (
        "training.checkpoints.calibrate",
        "Fit the temperature of a checkpoint, so that its confidence matches its accuracy.",
    ),
    "exits": (
        "training.exits.command",
        "Let an exported model answer after some of its layers, where it is sure.",
    ),
    "rename-labels": (
        "training.checkpoints.rename",
        "Give the labels of a checkpoint or artifact other names.",
    ),
    "evaluate": (
        "training.evaluation.evaluate",
        "Measure checkpoints, artifacts or running servers on labelled text.",
    ),
    "behaviour": (
        "training.evaluation.behaviour",
        "Run the behavioural test suite on an artifact or a running server.",
    ),
}


def main(argv: list[str] | None = None) -> None:
    """Run one step. Bad input ends it with a message of one line and status 1; a wrong option with status 2."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] not in STEPS:
        is_help = bool(argv) and argv[0] in ("-h", "--help")
        print(_usage(), file=sys.stdout if is_help else sys.stderr)
        sys.exit(0 if is_help else 2)
    step, *rest = argv
    name = "rt-sentiment train" if step == "all" else step
    try:
        _run(step, name, rest)
    except KeyboardInterrupt as error:
        again = "; run the same command to go on" if step == "all" else ""
        print(f"{name}: {str(error) or f'interrupted{again}'}", file=sys.stderr)
        sys.exit(130)
    except UsageError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
    except (SentimentError, InputError, OSError) as error:
        sys.exit(f"{name}: {error}")


def _run(step: str, name: str, arguments: list[str]) -> None:
    path, description = STEPS[step]
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if str(error.name).startswith(("app.", "training.")):
            raise
        sys.exit(
            f"{name}: the package {error.name} is missing; run `make .venv/dev.stamp` "
            "or `pip install 'rt-sentiment[train]'`"
        )
    program = name if step == "all" else f"python -m training {step}"
    parser = argparse.ArgumentParser(prog=program, description=description)
    module.add_arguments(parser)
    module.main(parser.parse_args(arguments))


def _usage() -> str:
    width = max(map(len, STEPS))
    steps = "\n".join(f"  {name:{width}}  {description}" for name, (_, description) in STEPS.items())
    return (
        "usage: python -m training STEP [options]\n\n"
        f"Steps, in the order of use:\n\n{steps}\n\n"
        "Run `python -m training STEP --help` for the options of a step."
    )


if __name__ == "__main__":
    main()
