"""Train several times, and take the mean of the weights: for few rows, where one training is a matter of luck.

Trainings that start from the same weights and differ only in their seed end near each other, and their mean is about as
good as the best of them (Wortsman et al. 2022, "Model soups").
"""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

from tqdm import tqdm

from training.checkpoints import average_checkpoints
from training.data import Example
from training.evaluation import Evaluation, evaluate_target, open_targets
from training.files import read_json
from training.files import replace as replace_file
from training.fit.judge import figures_by_class
from training.fit.loop import fine_tune_once
from training.fit.recipe import Recipe
from training.fit.run import FinishedRun


def fine_tune(
    start: Path, out: Path, examples: Sequence[Example], dev: Sequence[Example], recipe: Recipe
) -> Evaluation:
    """Fine-tune as `fine_tune_once` does, and raise as it does; with `recipe.trainings`, so many times.

    The first training is in `out`, the others are in `out/trainings`, and `out/checkpoint` is the mean of all.
    """
    if recipe.trainings == 1:
        return fine_tune_once(start, out, examples, dev, recipe)
    mean, folder, report = out / "checkpoint", out / "trainings", out / "report.json"
    try:
        fine_tune_once(start, out, examples, dev, recipe, following=recipe.trainings - 1)
    except FinishedRun:
        if "trainings" in read_json(report):
            raise
    checkpoints = [folder / "1"]
    if not checkpoints[0].exists():
        folder.mkdir(exist_ok=True)
        mean.rename(checkpoints[0])
    for number in range(2, recipe.trainings + 1):
        tqdm.write(f"Training {number} of {recipe.trainings}")
        seed = recipe.seed + number - 1
        with contextlib.suppress(FinishedRun):  # before an interruption
            one = replace(recipe, trainings=1, seed=seed)
            following = recipe.trainings - number
            fine_tune_once(start, folder / f"{number}", examples, dev, one, following=following)
        checkpoints.append(folder / f"{number}" / "checkpoint")
    rmtree(mean, ignore_errors=True)
    average_checkpoints(checkpoints, mean)
    evaluation, *each = (_evaluate(checkpoint, dev) for checkpoint in (mean, *checkpoints))
    record = read_json(report) | {"dev": figures_by_class(evaluation), "trainings": [*map(figures_by_class, each)]}
    replace_file(report, json.dumps(record, indent=2) + "\n")
    return evaluation


def _evaluate(checkpoint: Path, dev: Sequence[Example]) -> Evaluation:
    (target,) = open_targets(str(checkpoint), "torch")
    return evaluate_target(target, dev)
