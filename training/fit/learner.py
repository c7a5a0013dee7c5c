"""One training step: loss, gradient, learning rate, and the average of the weights."""

import math
import re
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.swa_utils import AveragedModel

from app.inference.padding import pad
from app.inference.tokenizer import Tokenizer
from app.types import Encoding
from training.checkpoints import Device
from training.errors import InputError
from training.fit.early import LEARNING_RATE, EarlyHeads
from training.fit.mixture import Row
from training.fit.ranges import Ranges
from training.fit.recipe import Recipe

_MAX_GRADIENT_NORM = 1.0  # over all weights
_PENALTY_EVERY = 4  # steps


class Learner:
    """A classifier with its optimizer, schedule and average, for a training of `steps` steps."""

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        recipe: Recipe,
        steps: int,
        device: Device,
        *,
        class_weights: NDArray[np.float32] | None = None,
    ) -> None:
        self.step = 0
        self.model = model.train()
        _set_dropout(model, recipe.dropout)
        self._device = device
        self._first, self._last = tokenizer.encode("").ids
        self._seed = recipe.seed
        self._averaged_from = steps * (1 - recipe.average)
        self._ranges = Ranges(model, recipe.max_activation)
        groups = parameter_groups(model, recipe)
        self._early = EarlyHeads(model, recipe.early_layers, steps) if recipe.early_layers else None
        self._early_weight = recipe.early_weight
        self._highest = len(groups) - 1
        if self._early:
            groups.append(groups[-1] | {"params": [*self._early.parameters()], "lr": LEARNING_RATE})
        self._optimizer = torch.optim.AdamW(groups, recipe.learning_rate, fused=True)
        self._begins = {depth: _first_step(depth, model, recipe, steps) for depth in range(_head(model) + 1)}
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer,
            [_schedule(steps, self._begins[group["depth"]], recipe.warmup) for group in self._optimizer.param_groups],
        )
        self._average = AveragedModel(model) if recipe.average else None
        self._class_weights = None if class_weights is None else device.put(class_weights)

    def state(self) -> dict[str, Any]:
        """Return everything that is needed to resume."""
        return {"step": self.step} | {name: part.state_dict() for name, part in self._parts().items()}

    def load(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimizer": self._optimizer, "schedule": self._schedule}
        return parts | {name: part for name, part in (("average", self._average), ("early", self._early)) if part}

    @property
    def result(self) -> Any:
        """The trained model: the average of the last steps, if the recipe sets `average` and these have begun."""
        return self._average.module if self._average and self._average.n_averaged else self.model

    @property
    def learning_rate(self) -> float:
        """The learning rate of the highest layer in the next step."""
        return float(self._schedule.get_last_lr()[self._highest])

    def learn(self, rows: list[Row]) -> float:
        """Do one step and return the loss of `rows`, without the penalty and the early heads.

        Raises `InputError` if the gradient is not finite. The weights are unchanged then.
        """
        torch.manual_seed(self._seed * 1_000_003 + self.step)  # so that a resumed run has the same dropout
        self._freeze()
        inputs, targets, is_open = self._tensors(rows)
        # The penalty takes a quarter of the time of a step, and its effect lasts for the steps in between.
        with self._ranges if self.step % _PENALTY_EVERY == 0 else nullcontext(), self._device.autocast():
            output = self.model(**inputs, output_hidden_states=self._early is not None)
        loss = cross_entropy(output.logits.float(), targets, is_open, self._class_weights)
        early_loss: torch.Tensor | float = 0.0
        if self._early:
            answers = self._early(output.hidden_states, inputs["attention_mask"], self.step)
            losses = [cross_entropy(logits, targets, is_open, self._class_weights) for logits in answers]
            early_loss = self._early_weight * torch.stack(losses).mean()
        (loss + early_loss + self._ranges.penalty()).backward()
        self._require_finite(torch.nn.utils.clip_grad_norm_(self.model.parameters(), _MAX_GRADIENT_NORM))
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._schedule.step()
        self.step += 1
        if self._average and self.step > self._averaged_from:
            self._average.update_parameters(self.model)
        return float(loss.item())

    def _freeze(self) -> None:
        """Compute no gradients of weights that do not learn in this step."""
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                parameter.requires_grad_(self.step >= self._begins[group["depth"]])

    def check(self, rows: list[Row]) -> None:
        """Raise `InputError` if the results are not finite after the last step, before that state is saved."""
        with torch.no_grad(), self._device.autocast():
            self._require_finite(self.model(**self._tensors(rows)[0]).logits)

    def _require_finite(self, numbers: torch.Tensor) -> None:
        if not numbers.isfinite().all():
            raise InputError(
                f"the training has diverged after step {self.step}: its results are not finite; "
                "start a new run with a lower learning_rate or a longer warmup"
            )

    def _tensors(self, rows: list[Row]) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
        encodings = [Encoding([self._first, *row.ids.tolist(), self._last], truncated=False) for row in rows]
        batch = pad(encodings, self.model.config.pad_token_id)
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        targets, is_open = np.stack([row.target for row in rows]), np.stack([row.open for row in rows])
        put = self._device.put
        return {name: put(array) for name, array in inputs.items()}, put(targets), put(is_open)


def _set_dropout(model: torch.nn.Module, share: float) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share
        elif hasattr(module, "dropout_prob"):  # fused attention
            module.dropout_prob = share


def _head(model: torch.nn.Module) -> int:
    """Return the depth of the head. That of the embeddings is 0, and the layers are between them."""
    return int(model.config.num_hidden_layers) + 1


def _first_step(depth: int, model: torch.nn.Module, recipe: Recipe, steps: int) -> int:
    """Return the step in which the weights at a depth begin to learn. If it is `steps`, they never do."""
    if depth == _head(model):
        return 0
    return int(steps * recipe.head_first) if depth or recipe.train_embeddings else steps


def parameter_groups(model: torch.nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Group parameters by depth and kind: lower layers learn more slowly, and biases and norms do not decay."""
    head = _head(model)
    groups: dict[tuple[int, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        layer = re.search(r"\.layer\.(\d+)\.", name)
        depth = int(layer[1]) + 1 if layer else 0 if "embeddings" in name else head
        groups.setdefault((depth, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": recipe.learning_rate
            * (recipe.head_rate if depth == head else 1.0)
            * recipe.layer_decay ** (head - depth),
            "depth": depth,
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (depth, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def _schedule(steps: int, after: int, warmup: float) -> Callable[[int], float]:
    """Return a schedule that begins after some steps, and is 0 before."""
    return lambda step: linear_schedule(step - after, steps - after, warmup) if step >= after else 0.0


def linear_schedule(step: int, steps: int, warmup: float) -> float:
    """Return the share of the full learning rate at a step: a linear rise, then a linear fall to 0."""
    rise = max(1, math.ceil(steps * warmup))
    return min((step + 1) / rise, max(0.0, (steps - step) / max(1, steps - rise)))


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, is_open: torch.Tensor, class_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean cross-entropy over the labels that are open. The first three have the shape (rows, labels).

    With `class_weights`, one for each label, it is the weighted mean over the rows.
    """
    log_probabilities = logits.masked_fill(~is_open, -1e4).log_softmax(dim=-1)
    losses = -(targets * log_probabilities).sum(dim=-1)
    if class_weights is None:
        return losses.mean()
    weights = targets @ class_weights.to(targets.dtype)
    return (weights * losses).sum() / weights.sum()
