"""`python -m training average`: one checkpoint whose weights are the mean of those of others.

For trainings that began one from the other: what the later one has gained on its texts, and lost on others, lies
between the two, and the mean tends to keep the gain and undo the loss (Wortsman et al. 2022, "Robust fine-tuning of
zero-shot models").
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from training.errors import InputError
from training.files import read_json

_WEIGHTS, _RECORD = "model.safetensors", "training.json"
_ALIKE = ("config.json", "tokenizer.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `python -m training average`."""
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="two or more, of one model")
    parser.add_argument("--out", type=Path, required=True, help="a new directory")


def main(args: argparse.Namespace) -> None:
    """Average as the command line says."""
    average(args.checkpoints, args.out)


def average(checkpoints: Sequence[Path], out: Path) -> None:
    """Write to `out` the mean of the weights of `checkpoints`, with what else belongs to the first.

    Raises `InputError` when there are fewer than two, or they differ in more than their weights, and `OSError` when one
    cannot be read or `out` is there already.
    """
    if len(checkpoints) < 2:
        raise InputError("an average takes two checkpoints or more")
    first, *others = checkpoints
    for other in others:
        if any((first / name).read_bytes() != (other / name).read_bytes() for name in _ALIKE):
            raise InputError(f"{other} is another model than {first}: their {' or '.join(_ALIKE)} differ")
    weights = [load_file(checkpoint / _WEIGHTS) for checkpoint in checkpoints]
    if any(one.keys() != weights[0].keys() for one in weights):
        raise InputError("the checkpoints do not have the same weights")
    mean = {name: torch.stack([one[name].float() for one in weights]).mean(dim=0) for name in weights[0]}
    shutil.copytree(first, out, ignore=shutil.ignore_patterns(_WEIGHTS, _RECORD))
    save_file(mean, out / _WEIGHTS, metadata={"format": "pt"})
    records = [read_json(record) for one in checkpoints if (record := one / _RECORD).is_file()]
    (out / _RECORD).write_text(json.dumps({"average_of": records}, indent=2) + "\n")
