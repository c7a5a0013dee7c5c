"""`python -m training train`: fine-tune a classifier."""

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
from training.checkpoints import TEMPERATURE_KEY, Device, find_checkpoint, keep_memory
from training.data import Example, check_labels, labels_of, read_all, without
from training.errors import InputError
from training.evaluation import Evaluation, aligned, evaluate_target, open_targets, suite_examples
from training.evaluation.plots import draw_evaluations
from training.files import checksum
from training.fit.learner import Learner
from training.fit.learning_curve import draw_learning_curve
from training.fit.mixture import Row, plan, steps_per_epoch, tokenise
from training.fit.progress import Progress
from training.fit.recipe import Recipe, read_recipe
from training.fit.run import Run, Signals

_FEW_STEPS = 60  # too few to learn labels that are new to the model

# The weights of the sets can only be set in a file.
_FLAGS = [field for field in fields(Recipe) if field.name != "weights"]
_DESCRIPTIONS = {name: info.description for name, info in Recipe.__pydantic_fields__.items()}


class Interrupted(KeyboardInterrupt):
    """A signal stopped the training. Its state is saved."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="directory or name of the checkpoint or artifact to start from")
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="SOURCE", help="text to train on (formats: docs/training.md)"
    )
    parser.add_argument("--dev", nargs="+", required=True, metavar="SOURCE", help="labelled text to measure on")
    parser.add_argument("--out", type=Path, required=True, help="directory of the run; an interrupted run is resumed")
    parser.add_argument("--recipe", type=Path, help="TOML file with settings; flags override it")
    for field in _FLAGS:
        flag = "--" + field.name.replace("_", "-")
        parser.add_argument(
            flag, type=type(field.default), help=f"{_DESCRIPTIONS[field.name]} (default: {field.default})"
        )


def main(args: argparse.Namespace) -> None:
    keep_memory()
    recipe = read_recipe(args.recipe, **{field.name: getattr(args, field.name) for field in _FLAGS})
    fine_tune(find_checkpoint(args.checkpoint), args.out, read_all(args.data), read_all(args.dev), recipe)


def fine_tune(start: Path, out: Path, examples: Sequence[Example], dev: Sequence[Example], recipe: Recipe) -> None:
    """Fine-tune the model at `start` on `examples` in the run directory `out`. The result is `out/checkpoint`.

    An interrupted run resumes from its last saved state and ends with the same result. Texts that occur in `dev` or in
    the behavioural suite are not trained on. Raises `Interrupted` on SIGTERM or Ctrl-C, and `InputError` if `out` holds
    another run, if there is nothing to train on or to measure on, or if the training diverges.
    """
    if examples and not (examples := without(examples, [*dev, *suite_examples()])):
        raise InputError("every text in --data is also in --dev or in the behavioural suite")
    labels = labels_of(examples)
    dev = _check(start, dev, labels, recipe)
    run = Run(out, _settings(start, examples, dev, labels, recipe))
    tokenizer = Tokenizer.load(start, max_tokens=10**6)
    sets = tokenise(examples, labels, tokenizer, recipe)
    tqdm.write(_listing(sets, recipe))
    epoch_steps = steps_per_epoch(sets, recipe)
    steps = epoch_steps * recipe.epochs
    if not steps:
        raise InputError("the weights of the sets leave no text to train on")
    if steps < _FEW_STEPS:
        tqdm.write(
            f"only {steps} steps: with so few rows, use a smaller --batch-size, more --epochs, a higher --learning-rate"
        )

    device = Device()
    torch.manual_seed(recipe.seed)  # the weights of new labels are random
    model = device.load(start, labels)
    vars(model.config).pop(TEMPERATURE_KEY, None)  # it belongs to the old weights
    learner = Learner(model, tokenizer, recipe, steps, device)
    spent_s = 0.0
    if state := run.begin():
        learner.load(state["learner"])
        spent_s = state["seconds"]

    with Progress(run, steps, epoch_steps, learner.step) as progress, Signals() as signals:
        for rows in plan(sets, recipe, skip=learner.step):
            if learner.step and learner.step % epoch_steps == 0:
                _evaluate(learner.model, start, run, dev, learner.step)
                progress.restart_clock()
            rate = learner.learning_rate
            progress.step(len(rows), learner.learn(rows), rate)
            if signals.received or run.is_save_due or learner.step % epoch_steps == 0:
                learner.check(rows)
                run.save({"step": learner.step, "seconds": spent_s + run.lasted_s, "learner": learner.state()})
            if signals.received and learner.step < steps:
                raise Interrupted(f"stopped at step {learner.step} of {steps}; run the same command again to resume")

    evaluation = _evaluate(learner.result, start, run, dev, steps)
    rows_by_set = {source: len(rows) for source, rows in sets.items()}
    figures = {"rows": rows_by_set, "steps": steps, "seconds": round(spent_s + run.lasted_s)}
    draw_evaluations([evaluation], run.directory / "plots")
    draw_learning_curve(run.history(), run.directory / "plots" / "learning-curve.png")
    run.finish(figures | {"dev": _figures(evaluation)})


def _check(start: Path, dev: Sequence[Example], labels: Sequence[str], recipe: Recipe) -> list[Example]:
    """Check now what would otherwise fail after hours of training; return `dev` with labels as in `labels`."""
    if len(labels) < 2:
        raise InputError(f"the training texts have only one label: {labels[0]}" if labels else "no text has a label")
    if not dev:
        raise InputError("--dev has no text to measure on")
    dev = check_labels(dev, labels, "the training has")
    longest = open_artifact(str(start)).max_tokens
    if recipe.max_tokens > longest:
        raise InputError(f"max_tokens is {recipe.max_tokens}, but {start} reads at most {longest}")
    return dev


def _settings(
    start: Path, examples: Sequence[Example], dev: Sequence[Example], labels: Sequence[str], recipe: Recipe
) -> dict[str, Any]:
    """Return the settings that identify a run."""
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
    """Return a table of the sets, with weights of unknown sets too, which may be typing errors."""
    lines = [("set", "rows", "per epoch")]
    lines += [(name, f"{len(rows)}", f"{recipe.weight(name):g}") for name, rows in sets.items()]
    lines += [(name, "none", f"{weight:g}") for name, weight in recipe.weights.items() if name not in sets and weight]
    return aligned(lines, {0})


def _evaluate(model: Any, start: Path, run: Run, dev: Sequence[Example], step: int) -> Evaluation:
    """Write the checkpoint, load and measure it, and record the figures."""
    model.save_pretrained(run.checkpoint)
    AutoTokenizer.from_pretrained(start).save_pretrained(run.checkpoint)
    (target,) = open_targets(str(run.checkpoint), "torch")
    evaluation = evaluate_target(target, dev)
    figures = _figures(evaluation)
    run.record({"step": step, "dev": figures})
    for name, each in figures.items():
        tqdm.write(f"  {name:20} {each}")
    return evaluation


def _figures(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    shown = ("accuracy", "macro_recall", "macro_f1", "ece")
    return {
        name: {figure: round(getattr(report, figure), 4) for figure in shown}
        for name, report in evaluation.reports.items()
    }
