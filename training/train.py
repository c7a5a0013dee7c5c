"""`python -m training train`: fine-tune a classifier. Reads top to bottom."""

import argparse
import hashlib
import math
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm
from transformers import AutoTokenizer

from app.runner import pad
from app.tokenizer import Tokenizer
from app.types import Encoding
from training import calibrate
from training.cases import exam
from training.device import Device
from training.evaluate import Evaluation, draw, evaluate
from training.examples import Example, read_all
from training.mixture import Row, labels_of, plan, steps_per_epoch, tokenise, without
from training.progress import Progress
from training.ranges import Ranges
from training.recipe import Recipe, read_recipe
from training.run import Run, Signals
from training.targets import open_targets

# Everything but the weights of the sets, which only a file can state.
_FLAGS = [field for field in fields(Recipe) if field.name != "weights"]


class Interrupted(KeyboardInterrupt):
    """The training was asked to stop; its state is saved."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `python -m training train`."""
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="SOURCE", help="labelled text: see training/examples.py"
    )
    parser.add_argument("--dev", nargs="+", required=True, metavar="SOURCE", help="the same, to measure on")
    parser.add_argument("--out", type=Path, required=True, help="directory of the run; an interrupted one goes on")
    parser.add_argument("--recipe", type=Path, help="a TOML file; flags go before it")
    for field in _FLAGS:
        flag = "--" + field.name.replace("_", "-")
        parser.add_argument(flag, type=type(field.default), help=f"({field.default})")


def main(args: argparse.Namespace) -> None:
    """Train as the command line says."""
    recipe = read_recipe(args.recipe, **{field.name: getattr(args, field.name) for field in _FLAGS})
    train(args.checkpoint, args.out, read_all(args.data), read_all(args.dev), recipe)


def train(start: Path, out: Path, examples: Sequence[Example], dev: Sequence[Example], recipe: Recipe) -> None:
    """Fine-tune the model at `start` on `examples` in the run directory `out`; the result is `out/checkpoint`.

    A run that was interrupted goes on where its state was last saved, and ends as it would have. Raises `Interrupted`
    on SIGTERM or Ctrl-C, `ValueError` when `out` is another run's. Texts that occur in `dev` or in the
    behavioural suite are not trained on.
    """
    examples = without(examples, [*dev, *exam()])
    labels = labels_of(examples)
    settings = {"start": start.name, "labels": labels, "recipe": asdict(recipe), "data": _fingerprint(examples)}
    run = Run(out, settings)
    device = Device()
    model = device.load(start, labels)
    vars(model.config).pop(calibrate.KEY, None)  # it was the other weights'
    tokenizer = Tokenizer.load(start, max_tokens=10**6)
    sets = tokenise(examples, labels, tokenizer, recipe)

    an_epoch = steps_per_epoch(sets, recipe)
    steps = an_epoch * recipe.epochs
    optimizer = torch.optim.AdamW(_parameter_groups(model, recipe), recipe.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _slope(step, steps, recipe.warmup))
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    if recipe.average:
        parts["average"] = AveragedModel(model)

    done, spent_s = 0, 0.0
    if state := run.resume():
        done, spent_s = state["step"], state["seconds"]
        for name, part in parts.items():
            part.load_state_dict(state[name])

    def save() -> None:
        states = {name: part.state_dict() for name, part in parts.items()}
        run.save({"step": done, "seconds": spent_s + time.perf_counter() - started_s, **states})

    started_s = time.perf_counter()
    model.train()
    bar, watch = Progress(run, steps, an_epoch, done), Ranges(model, recipe.max_activation)
    with bar as progress, watch as ranges, Signals() as signals:
        for rows in plan(sets, recipe, skip=done):
            torch.manual_seed(recipe.seed * 1_000_003 + done)  # so that a resumed run drops out the same
            rate = schedule.get_last_lr()[-1]
            batch = _tensors(rows, tokenizer, model.config.pad_token_id, device)
            loss = _learn(model, batch, device, ranges, optimizer)
            schedule.step()
            done += 1
            if done > steps * (1 - recipe.average):
                parts["average"].update_parameters(model)

            progress.step(len(rows), loss, rate)
            if done % an_epoch == 0 and done < steps:
                _evaluate(model, start, run, dev, done)
                model.train()
            if signals.received and done < steps:
                save()
                raise Interrupted(f"stopped at step {done} of {steps}; the same command goes on from there")
            if run.due:
                save()

    evaluation = _evaluate(parts["average"].module if recipe.average else model, start, run, dev, done)
    run.finish(
        settings
        | {"rows": {source: len(rows) for source, rows in sets.items()}, "steps": steps}
        | {"seconds": round(spent_s + time.perf_counter() - started_s), "dev": _figures(evaluation)}
    )
    draw([evaluation], run.directory / "plots")
    run.draw()


def _learn(
    model: Any,
    batch: tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor],
    device: Device,
    ranges: Ranges,
    optimizer: torch.optim.Optimizer,
) -> float:
    """Take one step down the gradient of a batch; return its loss, without the penalty."""
    inputs, targets, is_open = batch
    with device.autocast():
        logits = model(**inputs).logits
    loss = _cross_entropy(logits.float(), targets, is_open)
    (loss + ranges.penalty()).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.item())


def _parameter_groups(model: torch.nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters by depth and kind: lower layers learn slower, and biases and norms do not decay."""
    layers = model.config.num_hidden_layers
    groups: dict[tuple[int, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        layer = re.search(r"\.layer\.(\d+)\.", name)
        depth = int(layer[1]) + 1 if layer else 0 if "embeddings" in name else layers + 1
        groups.setdefault((depth, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": recipe.learning_rate * recipe.layer_decay ** (layers + 1 - depth),
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (depth, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def _slope(step: int, steps: int, warmup: float) -> float:
    rise = max(1, math.ceil(steps * warmup))
    return min((step + 1) / rise, max(0.0, (steps - step) / max(1, steps - rise)))


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor, is_open: torch.Tensor) -> torch.Tensor:
    log_probabilities = logits.masked_fill(~is_open, -1e4).log_softmax(dim=-1)
    return -(targets * log_probabilities).sum(dim=-1).mean()


def _tensors(
    rows: list[Row], tokenizer: Tokenizer, pad_id: int, device: Device
) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    first, last = tokenizer.encode("").ids
    batch = pad([Encoding([first, *row.ids.tolist(), last], truncated=False) for row in rows], pad_id)
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    targets, is_open = np.stack([row.target for row in rows]), np.stack([row.open for row in rows])
    return {name: device.put(array) for name, array in inputs.items()}, device.put(targets), device.put(is_open)


def _evaluate(model: Any, start: Path, run: Run, dev: Sequence[Example], step: int) -> Evaluation:
    """Write the checkpoint, measure it as it will be read, and note the figures."""
    model.save_pretrained(run.checkpoint)
    AutoTokenizer.from_pretrained(start).save_pretrained(run.checkpoint)
    (target,) = open_targets(str(run.checkpoint), "torch")
    evaluation = evaluate(target, dev)
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


def _fingerprint(examples: Sequence[Example]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for example in examples:
        digest.update(repr(example).encode())
    return {"sets": dict(Counter(example.source for example in examples)), "sha256": digest.hexdigest()}
