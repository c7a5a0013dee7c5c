"""`python -m training average`: one checkpoint with the mean weights of several.

Use it for a checkpoint and another one that was trained further from it. The later one is better on its new texts and
often worse on others. The mean tends to keep the gain and undo the loss (Wortsman et al. 2022, "Robust fine-tuning of
zero-shot models").
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from app.inference.files import MANIFEST
from training.checkpoints.calibrate import TEMPERATURE_KEY
from training.checkpoints.locate import find_checkpoint
from training.errors import InputError
from training.files import atomic_output, read_json

_WEIGHTS, _RECORD, _CONFIG, _TOKENIZER = "model.safetensors", "training.json", "config.json", "tokenizer.json"
# Files that transformers may write for the tokenizer.
_COMPANIONS = (_TOKENIZER, "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="directories of two or more checkpoints"
    )
    parser.add_argument(
        "--weights", nargs="+", type=float, metavar="W", help="weight of each checkpoint in the mean (default: equal)"
    )
    parser.add_argument("--out", type=Path, required=True, help="new directory for the mean")


def main(args: argparse.Namespace) -> None:
    average_checkpoints([find_checkpoint(each) for each in args.checkpoints], args.out, args.weights)


def average_checkpoints(checkpoints: Sequence[Path], out: Path, shares: Sequence[float] | None = None) -> None:
    """Write the mean of `checkpoints` to `out`, with the config and the tokenizer of the first.

    `shares` are relative and need not sum to 1. A calibration temperature is dropped, because it belongs to other
    weights. Raises `InputError` if there are fewer than two checkpoints, if one is an artifact, if they are different
    models, if a share is not above zero, or if `out` exists; `OSError` if a checkpoint cannot be read.
    """
    if len(checkpoints) < 2:
        raise InputError("give two or more checkpoints to average")
    factors = torch.tensor(shares or [1.0] * len(checkpoints), dtype=torch.float64)
    if len(factors) != len(checkpoints) or not (factors.isfinite() & (factors > 0)).all():
        raise InputError("--weights needs one number above zero for each checkpoint")
    first, *others = checkpoints
    config = _config(first)
    for other in others:
        if _config(other) != config or read_json(other / _TOKENIZER) != read_json(first / _TOKENIZER):
            raise InputError(f"{other} and {first} are different models: their {_CONFIG} or {_TOKENIZER} differ")
    with atomic_output(out) as part:
        weights = [load_file(checkpoint / _WEIGHTS) for checkpoint in checkpoints]
        if any(each.keys() != weights[0].keys() for each in weights):
            raise InputError("the checkpoints do not have the same weights")
        factors = factors / factors.max()  # so that the sum is finite
        factors = (factors / factors.sum()).float()
        mean = {
            name: torch.tensordot(factors, torch.stack([each[name].float() for each in weights]), dims=1)
            for name in weights[0]
        }
        files = [checkpoint / _RECORD for checkpoint in checkpoints]
        records = [read_json(file) if file.is_file() else None for file in files]
        part.mkdir(parents=True, exist_ok=True)
        save_file(mean, part / _WEIGHTS, metadata={"format": "pt"})
        (part / _CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        record = {"average_of": records} | ({"weights": list(shares)} if shares else {})
        (part / _RECORD).write_text(json.dumps(record, indent=2) + "\n")
        for name in _COMPANIONS:
            if (first / name).is_file():
                shutil.copyfile(first / name, part / name)


def _config(checkpoint: Path) -> dict[str, Any]:
    if (checkpoint / MANIFEST).is_file():
        raise InputError(f"{checkpoint} is an artifact with rounded weights; average the checkpoints it was made from")
    config = read_json(checkpoint / _CONFIG)
    config.pop(TEMPERATURE_KEY, None)
    return config
