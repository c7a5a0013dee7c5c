"""The settings of a training, from a TOML file and command-line flags."""

import tomllib
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from training.errors import InputError, UsageError


def _setting(description: str, **limits: float) -> Any:
    return Field(description=description, **limits)


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Recipe:
    """The settings of one training. The defaults suit a small encoder and about ten thousand labelled texts."""

    epochs: Annotated[int, _setting("passes over the training data", ge=1)] = 2
    batch_size: Annotated[int, _setting("texts per step", ge=1)] = 32
    max_tokens: Annotated[int, _setting("tokens per text; a longer text is cut to its beginning or its end", ge=3)] = 96
    learning_rate: Annotated[float, _setting("highest learning rate", gt=0)] = 7e-5
    layer_decay: Annotated[float, _setting("learning rate of a layer relative to the layer above it", gt=0, le=1)] = 1.0
    head_rate: Annotated[float, _setting("learning rate of the head relative to the highest layer", gt=0)] = 1.0
    head_first: Annotated[
        float, _setting("share of the steps, at the beginning, in which only the head learns", ge=0, lt=1)
    ] = 0.0
    train_embeddings: Annotated[bool, _setting("train the embeddings of words, too")] = True
    weight_decay: Annotated[float, _setting("weight decay of AdamW", ge=0)] = 0.01
    warmup: Annotated[float, _setting("share of the steps in which the learning rate rises", ge=0, le=1)] = 0.06
    dropout: Annotated[float, _setting("dropout in training, in every dropout layer of the model", ge=0, le=1)] = 0.1
    label_smoothing: Annotated[float, _setting("label smoothing for texts without a teacher's scores", ge=0, le=1)] = (
        0.05
    )
    gold: Annotated[float, _setting("weight of the label if a text also has a teacher's scores", ge=0, le=1)] = 0.5
    # See training/fit/ranges.py.
    max_activation: Annotated[
        float, _setting("limit for inputs of linear layers, for int8; 0 means no limit", ge=0)
    ] = 0.0
    # See training/fit/early.py.
    early_layers: Annotated[tuple[int, ...], _setting("layers after which the model also learns to answer")] = ()
    early_weight: Annotated[
        float, _setting("weight of the answers after early_layers, together, in the loss", ge=0)
    ] = 1.0
    average: Annotated[float, _setting("share of the steps, at the end, whose weights are averaged", ge=0, le=1)] = 0.0
    class_weights: Annotated[bool, _setting("give rare labels as much weight in the loss as frequent ones")] = False
    keep_labels: Annotated[bool, _setting("keep labels of the start that no row has, such as neutral")] = False
    evaluations: Annotated[
        int, _setting("how often the model is measured, evenly over the steps; 0 means after every epoch", ge=0)
    ] = 0
    patience: Annotated[int, _setting("stop after this many evaluations without a better one; 0 means never", ge=0)] = 0
    keep: Annotated[
        Literal["best", "last"], _setting("which checkpoint to keep: the best by macro F1 on --dev, or the last")
    ] = "best"
    seed: Annotated[int, _setting("seed of all random choices")] = 7
    trainings: Annotated[int, _setting("trainings with other seeds, whose mean is taken", ge=1, le=9)] = 1
    # How many times each set is used per epoch, by name (default: 1).
    weights: Mapping[str, Annotated[float, Field(ge=0)]] = field(default_factory=dict)

    def weight(self, source: str) -> float:
        return self.weights.get(source, 1.0)


def read_recipe(path: Path | None, **flags: Any) -> Recipe:
    """Read the recipe at `path`. `flags` that are not None override it.

    Raises `UsageError` for an unknown setting or an invalid value, and `InputError` for a file that is not TOML.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8")) if path else {}
    except ValueError as error:  # invalid TOML or invalid UTF-8
        raise InputError(f"{path}: not valid TOML: {error}") from None
    settings |= {name: value for name, value in flags.items() if value is not None}
    try:
        return TypeAdapter(Recipe).validate_python(settings)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {_message(each)}" for each in error.errors())
        raise UsageError(f"{path or 'recipe'}: {wrong}") from None


def _message(error: Mapping[str, Any]) -> str:
    return "unknown setting" if error["type"] == "unexpected_keyword_argument" else str(error["msg"])
