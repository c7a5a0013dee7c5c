"""What decides the result of a training, as a TOML file and flags state it."""

import tomllib
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from training.errors import InputError

_Count = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Amount = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Recipe:
    """The settings of one training. The defaults suit a small encoder on some ten thousand labelled texts."""

    epochs: _Count = 2
    batch_size: _Count = 32
    max_tokens: Annotated[int, Field(ge=3)] = 96  # of a longer text one end is read
    learning_rate: Annotated[float, Field(gt=0)] = 7e-5
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0  # each layer learns at this times the rate of the one above
    weight_decay: _Amount = 0.01
    warmup: _Share = 0.06  # share of all steps
    dropout: _Share = 0.1  # in training, of all that the model itself drops out
    label_smoothing: _Share = 0.05
    gold: _Share = 0.5  # weight of the label where a text has a teacher's scores as well
    max_activation: _Amount = 0.0  # bound on what goes into a linear layer, see training/fit/ranges.py; 0 is none
    average: _Share = 0.0  # share of all steps, the last ones, over which the weights are averaged
    seed: int = 7
    # How many times a set is seen per epoch, by name; 1 where nothing is said.
    weights: Mapping[str, _Amount] = field(default_factory=dict)

    def weight(self, source: str) -> float:
        """How many times the set `source` is seen per epoch."""
        return self.weights.get(source, 1.0)


def read_recipe(path: Path | None, **flags: Any) -> Recipe:
    """Read the recipe at `path`; `flags` that are not None go before it.

    Raises `InputError` naming a setting that there is not, or that cannot have its value, or a file that is no TOML.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8")) if path else {}
    except ValueError as error:  # not TOML, or not even UTF-8
        raise InputError(f"{path}: not valid TOML: {error}") from None
    settings |= {name: value for name, value in flags.items() if value is not None}
    try:
        return TypeAdapter(Recipe).validate_python(settings)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {_complaint(each)}" for each in error.errors())
        raise InputError(f"{path or 'recipe'}: {wrong}") from None


def _complaint(error: Mapping[str, Any]) -> str:
    return "no such setting" if error["type"] == "unexpected_keyword_argument" else str(error["msg"])
