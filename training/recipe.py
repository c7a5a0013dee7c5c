"""What decides the result of a training, as a TOML file and flags state it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of one training. The defaults suit a small encoder on some ten thousand labelled texts."""

    epochs: int = 2
    batch_size: int = 32
    max_tokens: int = 96  # of a longer text one end is read
    learning_rate: float = 7e-5
    layer_decay: float = 1.0  # each layer learns at this times the rate of the one above it
    weight_decay: float = 0.01
    warmup: float = 0.06  # share of all steps
    label_smoothing: float = 0.05
    gold: float = 0.5  # weight of the label where a text has a teacher's scores as well
    max_activation: float = 0.0  # bound on what goes into a linear layer, see training/ranges.py; 0 is none
    average: float = 0.0  # share of all steps, the last ones, over which the weights are averaged
    seed: int = 7
    # How many times a set is seen per epoch, by name; 1 where nothing is said.
    weights: Mapping[str, float] = field(default_factory=dict)

    def weight(self, source: str) -> float:
        """How many times the set `source` is seen per epoch."""
        return self.weights.get(source, 1.0)


def read_recipe(path: Path | None, **flags: Any) -> Recipe:
    """Read the recipe at `path`; `flags` that are not None go before it.

    Raises `ValueError` for a setting that there is not.
    """
    settings = tomllib.loads(path.read_text(encoding="utf-8")) if path else {}
    unknown = settings.keys() - {each.name for each in fields(Recipe)}
    if unknown:
        raise ValueError(f"{path}: no such settings: {', '.join(sorted(unknown))}")
    return Recipe(**settings | {name: value for name, value in flags.items() if value is not None})
