"""A penalty on large activations, so that int8 can represent the others precisely.

Pretrained encoders direct unused attention to the first token, where a few activations reach 20 to 30 while all others
stay below 6 (Bondarenko et al. 2023, "Quantizable Transformers"). They carry no information about the text, but int8
has one scale per tensor, and they take up three quarters of its range. With a penalty on values beyond a bound, the
model stops using them within a few hundred steps.
"""

from collections.abc import Sequence
from types import TracebackType

import torch
from torch import nn

_STRENGTH = 0.01


class Ranges:
    """Records inputs of linear layers beyond `bound`, inside its `with` block. A `bound` of 0 turns it off."""

    def __init__(self, model: nn.Module, bound: float) -> None:
        layers = [layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear) and ".layer." in name]
        self._layers: Sequence[nn.Linear] = layers if bound else ()
        self._bound = bound
        self._excesses: list[torch.Tensor] = []

    def __enter__(self) -> "Ranges":
        self._hooks = [layer.register_forward_pre_hook(self._watch) for layer in self._layers]
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for hook in self._hooks:
            hook.remove()

    def _watch(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if torch.is_grad_enabled():
            excess = torch.relu(inputs[0].float().abs() - self._bound)
            self._excesses.append(excess.square().sum() / len(excess))

    def penalty(self) -> torch.Tensor | float:
        """Return the penalty of the batches since the last call: their mean squared excess over the bound, scaled."""
        excesses, self._excesses = self._excesses, []
        return _STRENGTH * torch.stack(excesses).sum() if excesses else 0.0
