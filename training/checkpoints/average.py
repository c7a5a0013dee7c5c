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
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from app.inference.artifact import MANIFEST
from training.checkpoints.calibrate import TEMPERATURE_KEY
from training.errors import InputError
from training.files import making, read_json

_WEIGHTS, _RECORD, _CONFIG, _TOKENIZER = "model.safetensors", "training.json", "config.json", "tokenizer.json"
# What may lie beside the tokenizer, as transformers writes it.
_COMPANIONS = (_TOKENIZER, "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `python -m training average`."""
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="two or more, of one model")
    parser.add_argument(
        "--weights", nargs="+", type=float, metavar="W", help="how much each of them counts; alike by default"
    )
    parser.add_argument("--out", type=Path, required=True, help="a new directory")


def main(args: argparse.Namespace) -> None:
    """Average as the command line says."""
    average_checkpoints(args.checkpoints, args.out, args.weights)


def average_checkpoints(checkpoints: Sequence[Path], out: Path, shares: Sequence[float] | None = None) -> None:
    """Write to `out` the mean of the weights of `checkpoints`, with the config and the tokenizer of the first.

    Each counts as much as `shares` says, which need not sum to one. A temperature is left out: it was fitted to other
    weights. Raises `InputError` when there are fewer than two, one is an artifact, they differ in more than their
    weights, there is not a share above zero for each, or `out` is there already; `OSError` when one cannot be read.
    """
    if len(checkpoints) < 2:
        raise InputError("an average takes two checkpoints or more")
    each = torch.tensor(shares or [1.0] * len(checkpoints), dtype=torch.float64)
    if len(each) != len(checkpoints) or not (each.isfinite() & (each > 0)).all():
        raise InputError("--weights has a number above zero for each checkpoint")
    first, *others = checkpoints
    config = _config(first)
    for other in others:
        if _config(other) != config or (other / _TOKENIZER).read_bytes() != (first / _TOKENIZER).read_bytes():
            raise InputError(f"{other} is another model than {first}: their {_CONFIG} or {_TOKENIZER} differ")
    with making(out) as part:
        weights = [load_file(checkpoint / _WEIGHTS) for checkpoint in checkpoints]
        if any(one.keys() != weights[0].keys() for one in weights):
            raise InputError("the checkpoints do not have the same weights")
        each = each / each.max()  # whose sum is finite
        each = (each / each.sum()).float()
        mean = {
            name: torch.tensordot(each, torch.stack([one[name].float() for one in weights]), dims=1)
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
        raise InputError(f"{checkpoint}: an artifact, whose weights are rounded; average what it was exported from")
    config = read_json(checkpoint / _CONFIG)
    config.pop(TEMPERATURE_KEY, None)
    return config
