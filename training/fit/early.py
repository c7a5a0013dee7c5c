"""Heads after some layers that learn together with the model, so that its lower layers know more of the answer.

They are thrown away after the training: `python -m training exits` trains those that are served, on the exported model.
"""

from collections.abc import Sequence

import torch
from torch import nn

from training.errors import InputError

_UNITS = 16
_ALONE = 0.05  # share of the steps in which these heads learn alone: at first, they know nothing
LEARNING_RATE = 2e-3  # at most; the heads are new, and the model is not


class EarlyHeads(nn.Module):
    """A head after each of some layers, which count from 1. Its input is the first token and the mean of all."""

    def __init__(self, model: nn.Module, layers: Sequence[int], steps: int) -> None:
        super().__init__()
        most, width, labels = model.config.num_hidden_layers, model.config.hidden_size, model.config.num_labels
        if wrong := [layer for layer in layers if not 1 <= layer < most]:
            raise InputError(f"early_layers are between 1 and {most - 1} for this model, and not {wrong[0]}")
        self._layers = tuple(layers)
        self._alone = int(steps * _ALONE)
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(2 * width), nn.Linear(2 * width, _UNITS), nn.GELU(), nn.Linear(_UNITS, labels)
            ).to(model.device)
            for _ in layers
        )

    def forward(self, states: Sequence[torch.Tensor], mask: torch.Tensor, step: int) -> list[torch.Tensor]:
        """Return the logits of each head. `states` are those after each layer, of shape (texts, tokens, width)."""
        logits = []
        shares = (mask / mask.sum(dim=1, keepdim=True)).unsqueeze(-1)
        for layer, head in zip(self._layers, self.heads, strict=True):
            values = states[layer].float()
            pooled = torch.cat([values[:, 0], (values * shares).sum(dim=1)], dim=1)
            logits.append(head(pooled.detach() if step < self._alone else pooled))
        return logits
