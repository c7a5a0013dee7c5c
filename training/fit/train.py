"""`python -m training train`: fine-tune a classifier. Reads top to bottom."""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import AutoTokenizer

from app.inference.artifact import open_artifact, sha256
from app.inference.tokenizer import Tokenizer
from training.checkpoints import TEMPERATURE_KEY, Device, keep_memory
from training.data import Example, check_labels, read_all
from training.errors import InputError
from training.evaluation import Evaluation, aligned, evaluate_target, open_targets, suite_examples
from training.evaluation.plots import draw_evaluations
from training.files import checksum
from training.fit.learner import Learner
from training.fit.learning_curve import draw_learning_curve
from training.fit.mixture import Row, labels_of, plan, steps_per_epoch, tokenise, without
from training.fit.progress import Progress
from training.fit.recipe import Recipe, read_recipe
from training.fit.run import Run, Signals

_FEW_STEPS = 60  # in which labels that the model has not hardly begin to be learned

# Everything but the weights of the sets, which only a file can state.
_FLAGS = [field for field in fields(Recipe) if field.name != "weights"]


class Interrupted(KeyboardInterrupt):
    """The training was asked to stop; its state is saved."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `python -m training train`."""
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="SOURCE", help="labelled text: see training/data/examples.py"
    )
    parser.add_argument("--dev", nargs="+", required=True, metavar="SOURCE", help="the same, to measure on")
    parser.add_argument("--out", type=Path, required=True, help="directory of the run; an interrupted one goes on")
    parser.add_argument("--recipe", type=Path, help="a TOML file; flags go before it")
    for field in _FLAGS:
        flag = "--" + field.name.replace("_", "-")
        parser.add_argument(flag, type=type(field.default), help=f"({field.default})")


def main(args: argparse.Namespace) -> None:
    """Train as the command line says."""
    keep_memory()
    recipe = read_recipe(args.recipe, **{field.name: getattr(args, field.name) for field in _FLAGS})
    fine_tune(args.checkpoint, args.out, read_all(args.data), read_all(args.dev), recipe)


def fine_tune(start: Path, out: Path, examples: Sequence[Example], dev: Sequence[Example], recipe: Recipe) -> None:
    """Fine-tune the model at `start` on `examples` in the run directory `out`; the result is `out/checkpoint`.

    A run that was interrupted goes on where its state was last saved, and ends as it would have. Raises `Interrupted`
    on SIGTERM or Ctrl-C, `InputError` when `out` is another run's, when there is nothing to learn or to measure, or
    when the training diverges. Texts that occur in `dev` or in the behavioural suite are not trained on.
    """
    if examples and not (examples := without(examples, [*dev, *suite_examples()])):
        raise InputError("every text to train on is also in --dev, or in the behavioural suite")
    labels = labels_of(examples)
    _check(start, dev, labels, recipe)
    run = Run(out, _settings(start, examples, dev, labels, recipe))
    tokenizer = Tokenizer.load(start, max_tokens=10**6)
    sets = tokenise(examples, labels, tokenizer, recipe)
    tqdm.write(_listing(sets, recipe))
    an_epoch = steps_per_epoch(sets, recipe)
    steps = an_epoch * recipe.epochs
    if not steps:
        raise InputError("the weights leave no text to learn from")
    if steps < _FEW_STEPS:
        tqdm.write(
            f"only {steps} steps: so few rows want a smaller --batch-size, more --epochs, a higher --learning-rate"
        )

    device = Device()
    torch.manual_seed(recipe.seed)  # weights of labels that `start` has not are drawn
    model = device.load(start, labels)
    vars(model.config).pop(TEMPERATURE_KEY, None)  # it was the other weights'
    learner = Learner(model, tokenizer, recipe, steps, device)
    spent_s = 0.0
    if state := run.begin():
        learner.load(state["learner"])
        spent_s = state["seconds"]

    with Progress(run, steps, an_epoch, learner.step) as progress, Signals() as signals:
        for rows in plan(sets, recipe, skip=learner.step):
            if learner.step and learner.step % an_epoch == 0:
                _evaluate(learner.model, start, run, dev, learner.step)
                progress.restart_clock()
            rate = learner.learning_rate
            progress.step(len(rows), learner.learn(rows), rate)
            if signals.received or run.due or learner.step % an_epoch == 0:
                learner.check(rows)
                run.save({"step": learner.step, "seconds": spent_s + run.lasted_s, "learner": learner.state()})
            if signals.received and learner.step < steps:
                raise Interrupted(f"stopped at step {learner.step} of {steps}; the same command goes on from there")

    evaluation = _evaluate(learner.result, start, run, dev, steps)
    rows_by_set = {source: len(rows) for source, rows in sets.items()}
    figures = {"rows": rows_by_set, "steps": steps, "seconds": round(spent_s + run.lasted_s)}
    draw_evaluations([evaluation], run.directory / "plots")
    draw_learning_curve(run.history(), run.directory / "plots" / "learning-curve.png")
    run.finish(figures | {"dev": _figures(evaluation)})


def _check(start: Path, dev: Sequence[Example], labels: Sequence[str], recipe: Recipe) -> None:
    """Find now what would otherwise end the training after hours."""
    if len(labels) < 2:
        raise InputError(f"the training texts have one label: {labels[0]}" if labels else "no text has a label")
    if not dev:
        raise InputError("there is no text to measure on")
    check_labels(dev, labels, "the training has")
    longest = open_artifact(str(start)).max_tokens
    if recipe.max_tokens > longest:
        raise InputError(f"max_tokens is {recipe.max_tokens}; {start} reads {longest} at most")


def _settings(
    start: Path, examples: Sequence[Example], dev: Sequence[Example], labels: Sequence[str], recipe: Recipe
) -> dict[str, Any]:
    """What makes a run the one that it is."""
    return {
        "start": {"name": start.name, "sha256": sha256(start / "model.safetensors")},
        "labels": labels,
        "recipe": asdict(recipe),
        "data": _contents(examples),
        "measured_on": _contents(dev),
    }


def _contents(examples: Sequence[Example]) -> dict[str, Any]:
    return {"sets": dict(Counter(example.source for example in examples)), "sha256": checksum(examples)}


def _listing(sets: Mapping[str, Sequence[Row]], recipe: Recipe) -> str:
    """The sets with their rows and weights; a weight that no set has may be a slip of the pen."""
    lines = [("set", "rows", "times an epoch")]
    lines += [(name, f"{len(rows)}", f"{recipe.weight(name):g}") for name, rows in sets.items()]
    lines += [(name, "none", f"{weight:g}") for name, weight in recipe.weights.items() if name not in sets and weight]
    return aligned(lines, {0})


def _evaluate(model: Any, start: Path, run: Run, dev: Sequence[Example], step: int) -> Evaluation:
    """Write the checkpoint, measure it as it will be read, and note the figures."""
    model.save_pretrained(run.checkpoint)
    AutoTokenizer.from_pretrained(start).save_pretrained(run.checkpoint)
    (target,) = open_targets(str(run.checkpoint), "torch")
    evaluation = evaluate_target(target, dev)
    figures = _figures(evaluation)
    run.note({"step": step, "dev": figures})
    for name, each in figures.items():
        tqdm.write(f"  {name:20} {each}")
    return evaluation


def _figures(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    shown = ("accuracy", "macro_recall", "macro_f1", "ece")
    return {
        name: {figure: round(getattr(report, figure), 4) for figure in shown}
        for name, report in evaluation.reports.items()
    }
