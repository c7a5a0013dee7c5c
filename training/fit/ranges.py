"""Activations that int8 can resolve.

Pretrained encoders park attention on their first token, with a few activations of 20 to 30 there where all others stay
below 6 (Bondarenko et al. 2023, "Quantizable Transformers"). They say nothing about the text, but int8 has one scale
for a whole tensor, and they take three quarters of it. A penalty on what lies beyond a bound makes the model do without
them, within some hundred steps.
"""

from collections.abc import Sequence
from types import TracebackType

import torch
from torch import nn

_STRENGTH = 0.01


class Ranges:
    """Watches the inputs of a model's linear layers, from entering to leaving the context.

    A `bound` of 0 watches nothing.
    """

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
        """What the texts since the last call cost: their mean squared excess over the bound, times a strength."""
        excesses, self._excesses = self._excesses, []
        return _STRENGTH * torch.stack(excesses).sum() if excesses else 0.0
