"""Train the head of an exit: it learns the answers of the whole model from the states after a layer."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from onnx_export.cut import EPSILON, Head
from training.exits.states import Array

_BATCH = 256
_RATE, _WEIGHT_DECAY, _DROPOUT = 2e-3, 0.01, 0.1
_WARM_UP = 0.3  # of the steps
_FEWEST_STEPS = 500  # few texts are seen more often than `epochs` times
_LEVELS = 127
_TEMPERATURES = np.geomspace(0.25, 4.0, 97)


def fit_head(states: Array, targets: NDArray[np.float64], *, units: int, epochs: int, seed: int) -> Head:
    """Return the head that gives `targets` best: the probabilities of the whole model, of shape (texts, labels).

    `states` has the shape (texts, 3 * width).
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    inputs, wanted = torch.from_numpy(states), torch.from_numpy(targets.astype(np.float32))
    norm = nn.LayerNorm(inputs.shape[1])
    hidden, output = nn.Linear(inputs.shape[1], units), nn.Linear(units, wanted.shape[1])
    head = nn.Sequential(norm, hidden, nn.GELU(), nn.Dropout(_DROPOUT), output)
    optimizer = torch.optim.AdamW(head.parameters(), weight_decay=_WEIGHT_DECAY)
    batches = math.ceil(len(inputs) / _BATCH)
    epochs = max(epochs, math.ceil(_FEWEST_STEPS / batches))
    steps = epochs * batches
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps, pct_start=_WARM_UP)
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(inputs)), batches):
            loss = -(wanted[rows] * torch.log_softmax(head(inputs[rows]), dim=1)).sum(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    # The weights of the norm become part of the hidden layer, in 8 bits.
    weights = (hidden.weight * norm.weight).detach().numpy().T
    scale = np.abs(weights).max(axis=0) / _LEVELS
    bias = (hidden.bias + hidden.weight @ norm.bias).detach().numpy()
    return Head(
        np.rint(weights / scale).astype(np.int8),
        scale,
        bias,
        output.weight.detach().numpy().T.copy(),
        output.bias.detach().numpy(),
    )


def answer(head: Head, states: Array) -> Array:
    """Return the logits of a head, as the graph computes them: float32 of shape (texts, labels)."""
    centred = states - states.mean(axis=1, keepdims=True)
    normed = centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + EPSILON)
    units = normed @ head.hidden.astype(np.float32) * head.scale + head.hidden_bias
    logits: Array = nn.functional.gelu(torch.from_numpy(units)).numpy() @ head.output + head.output_bias
    return logits


def fit_temperature(logits: Array, targets: NDArray[np.float64]) -> float:
    """Return the temperature at which a head's probabilities are closest to those of the whole model.

    The whole model is calibrated. So an early answer of a certain confidence is right as often as a late one.
    """

    def loss(temperature: float) -> float:
        scaled = logits.astype(np.float64) / temperature
        shifted = scaled - scaled.max(axis=1, keepdims=True)
        return float(-(targets * (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))).sum(axis=1).mean())

    return round(float(min(_TEMPERATURES, key=loss)), 4)
