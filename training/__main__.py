"""`python -m training STEP …`: the steps, in the order in which they are used. STEP --help says more."""

import argparse
import importlib
import sys

from app.errors import SentimentError
from training.errors import InputError

# Each step is a module with `add_arguments(parser)` and `main(args)`. It is imported when it is asked for:
# measuring a server takes no PyTorch.
STEPS = {
    "convert": (
        "training.checkpoints.convert",
        "make a classifier of a pretrained encoder; a BERT becomes a DistilBERT",
    ),
    "templates": (
        "training.data.templates",
        "write labelled sentences of what public sets lack: negation, contrast, plain facts, emoji",
    ),
    "splices": (
        "training.data.splices",
        "write sentences of a set anew, with phrases of it exchanged, for a teacher to label",
    ),
    "label": ("training.checkpoints.label", "write down a teacher's scores on texts, for a small model to learn from"),
    "train": ("training.fit.train", "fine-tune a classifier on labelled text"),
    "average": (
        "training.checkpoints.average",
        "make one checkpoint of the mean of several, trained one from the other",
    ),
    "calibrate": (
        "training.checkpoints.calibrate",
        "fit the temperature of a checkpoint, so that its confidence means what it says",
    ),
    "evaluate": ("training.evaluation.evaluate", "measure checkpoints, artifacts or running servers on labelled text"),
    "behaviour": ("training.evaluation.behaviour", "put an artifact or a running server through the behavioural suite"),
}


def main(argv: list[str] | None = None) -> None:
    """Run the step that the command line names; exit with 1 and a sentence when it cannot be done."""
    width = max(map(len, STEPS))
    listing = "\n".join(f"  {name:{width}}  {what}" for name, (_, what) in STEPS.items())
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] not in STEPS:
        asked = bool(argv) and argv[0] in ("-h", "--help")
        print(f"usage: python -m training STEP …\n\n{listing}", file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 2)
    step, *rest = argv
    path, what = STEPS[step]
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:  # serving takes less
        if str(error.name).startswith(("app.", "training.")):
            raise
        sys.exit(f"{step}: needs the package {error.name}: make .venv/dev.stamp, or pip install 'rt-sentiment[train]'")
    parser = argparse.ArgumentParser(prog=f"python -m training {step}", description=what)
    module.add_arguments(parser)
    try:
        module.main(parser.parse_args(rest))
    except (SentimentError, InputError, OSError, KeyboardInterrupt) as error:
        sys.exit(f"{step}: {error or 'interrupted'}")


if __name__ == "__main__":
    main()
