"""Fine-tune a classifier: the loop over the steps, and what is measured and kept on the way."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from app.inference.artifact import open_artifact, sha256
from app.inference.tokenizer import Tokenizer
from training.checkpoints import TEMPERATURE_KEY, Device
from training.data import Example, check_labels, labels_of, meaning, order_labels, without
from training.errors import InputError
from training.evaluation import ALL, Evaluation, aligned, suite_examples
from training.evaluation.plots import draw_evaluations
from training.files import checksum, peak_memory_mb
from training.fit.judge import Judge, figures_by_class
from training.fit.learner import Learner
from training.fit.learning_curve import draw_learning_curve
from training.fit.mixture import Row, class_weights, lowest_loss, plan, steps_per_epoch, tokenise
from training.fit.progress import Progress
from training.fit.recipe import Recipe
from training.fit.run import Run, Signals

_FEW_STEPS = 60  # too few to learn labels that are new to the model


class Interrupted(KeyboardInterrupt):
    """A signal stopped the training. Its state is saved."""


def fine_tune_once(
    start: Path,
    out: Path,
    examples: Sequence[Example],
    dev: Sequence[Example],
    recipe: Recipe,
    *,
    following: int = 0,
) -> Evaluation:
    """Fine-tune the model at `start` on `examples` in the run directory `out`. The result is `out/checkpoint`.

    Returns the evaluation of that checkpoint. An interrupted run resumes from its last saved state and ends with the
    same result. Texts that occur in `dev` or in the behavioural suite are not trained on. `following` is how many
    trainings come after this one, for the estimate of the time left. Raises `Interrupted` on SIGTERM or Ctrl-C, and
    `InputError` if `out` holds another run, if there is nothing to train on or to measure on, or if the training
    diverges.
    """
    examples = _not_held_out(examples, dev)
    labels = _labels(start, examples, recipe)
    dev = _check(start, dev, labels, recipe)
    run = Run(out, _settings(start, examples, dev, labels, recipe))
    tokenizer = Tokenizer.load(start, max_tokens=10**6)
    sets = tokenise(examples, labels, tokenizer, recipe)
    if len(sets) > 1 or recipe.weights:
        tqdm.write(_listing(sets, recipe))
    epoch_steps = steps_per_epoch(sets, recipe)
    steps = epoch_steps * recipe.epochs
    if not steps:
        raise InputError("the weights of the sets leave no text to train on")
    if steps < _FEW_STEPS:
        tqdm.write(f"only {steps} steps, which are few, above all for new labels: add rows, or use more --epochs")

    device = Device()
    torch.manual_seed(recipe.seed)  # the weights of new labels are random
    model = device.load(start, labels)
    vars(model.config).pop(TEMPERATURE_KEY, None)  # it belongs to the old weights
    weights = class_weights(sets, recipe) if recipe.class_weights else None
    learner = Learner(model, tokenizer, recipe, steps, device, class_weights=weights)
    judge = Judge(run, start, dev, recipe, steps=steps, epoch_steps=epoch_steps)
    spent_s, losses = 0.0, []
    if state := run.begin():
        learner.load(state["learner"])
        spent_s, losses = state["seconds"], state["losses"]

    with Progress(run, steps, epoch_steps, learner.step, losses, following=following) as progress, Signals() as signals:
        for rows in plan(sets, recipe, skip=learner.step):
            if judge.is_due(learner.step):
                judge.evaluate(learner.result, learner.step)
                if judge.is_over:
                    break
                progress.restart_clock()
            rate = learner.learning_rate
            progress.step(len(rows), learner.learn(rows), rate)
            due = judge.is_due(learner.step) or learner.step == steps
            if signals.received or run.is_save_due or due:
                learner.check(rows)
                seconds = spent_s + run.lasted_s
                run.save(
                    {"step": learner.step, "seconds": seconds, "losses": progress.state, "learner": learner.state()}
                )
            if signals.received and learner.step < steps:
                raise Interrupted(f"stopped at step {learner.step} of {steps}; run the same command again to resume")
        else:
            judge.evaluate(learner.result, steps)

    return _finish(run, judge, sets, recipe, step=learner.step, spent_s=spent_s)


def _finish(
    run: Run, judge: Judge, sets: Mapping[str, Sequence[Row]], recipe: Recipe, *, step: int, spent_s: float
) -> Evaluation:
    """Draw the plots and write the report."""
    evaluation, chosen = judge.result()
    plots, lowest = run.directory / "plots", lowest_loss(sets, recipe)
    draw_evaluations([evaluation], plots, f"after epoch {chosen['epoch']:g}")
    draw_learning_curve(run.history(), plots / "learning-curve.png", lowest, recipe.label_smoothing)
    run.finish(
        {
            "rows": {source: len(rows) for source, rows in sets.items()},
            "steps": step,
            "planned_steps": steps_per_epoch(sets, recipe) * recipe.epochs,
            "seconds": round(spent_s + run.lasted_s),
            "peak_memory_mb": peak_memory_mb(),
            "lowest_loss": round(lowest, 4),
            "kept": {"step": chosen["step"], "epoch": chosen["epoch"], "chosen_by": recipe.keep},
            "dev": figures_by_class(evaluation),
        }
    )
    return evaluation


def _not_held_out(examples: Sequence[Example], dev: Sequence[Example]) -> Sequence[Example]:
    kept = without(examples, [*dev, *suite_examples()]) if examples else examples
    if examples and not kept:
        raise InputError("every text in --data is also in --dev or in the behavioural suite")
    if len(kept) < len(examples):
        tqdm.write(
            f"{len(examples) - len(kept)} of {len(examples)} rows are not trained on: they contain a text of --dev or "
            "of the behavioural suite"
        )
    return kept


def _labels(start: Path, examples: Sequence[Example], recipe: Recipe) -> tuple[str, ...]:
    labels = labels_of(examples)
    if not recipe.keep_labels:
        return labels
    keys = {meaning(label) for label in labels}
    return order_labels([*labels, *(label for label in open_artifact(str(start)).labels if meaning(label) not in keys)])


def _check(start: Path, dev: Sequence[Example], labels: Sequence[str], recipe: Recipe) -> list[Example]:
    """Check now what would otherwise fail after hours of training; return `dev` with labels as in `labels`."""
    if len(labels) < 2:
        raise InputError(f"the training texts have only one label: {labels[0]}" if labels else "no text has a label")
    if not dev:
        raise InputError("--dev has no text to measure on")
    if any(example.source == ALL for example in dev):
        raise InputError(f"a set to measure on cannot be called {ALL}; give its file another name")
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
