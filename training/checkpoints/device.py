"""Where a training runs: CUDA where there is one, in bf16 where the hardware computes it."""

import contextlib
import ctypes
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForSequenceClassification

from training.errors import InputError

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)
_NEVER = -1


class Device:
    """A processor or graphics card, and how to put a model and its batches there."""

    def __init__(self) -> None:
        self.type = "cuda" if torch.cuda.is_available() else "cpu"
        # In software bf16 is slower than fp32.
        if self.type == "cuda":
            self.bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            self.bf16 = bool(torch.cpu._is_avx512_bf16_supported())  # noqa: SLF001 - it has no public name

    def load(self, checkpoint: Path, labels: Sequence[str] = ()) -> Any:
        """Read the classifier at `checkpoint`, made to tell `labels` if any are given; see `relabel`."""
        # On processors eager attention in bf16 is 1.3 to 1.8 times as fast as the fused kernel at these lengths.
        attention = "sdpa" if self.type == "cuda" else "eager"
        model = read_classifier(checkpoint, attn_implementation=attention, dtype=torch.float32)
        if labels:
            relabel(model, labels)
        return model.to(self.type)

    def put(self, array: NDArray[Any]) -> torch.Tensor:
        """Copy an array there."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.type, non_blocking=True)

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute in bf16 where the hardware does."""
        return torch.autocast(self.type, dtype=torch.bfloat16, enabled=self.bf16)


def keep_memory() -> None:
    """Keep freed memory in the process.

    glibc hands large blocks back to the system as they are freed, and every step of a training asks for them anew: to
    be given empty pages took two fifths of its time (1.75 steps a second, and 2.86 with this; two cores, 2026-11-22).
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # where there is no glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _NEVER)


def read_classifier(directory: Path, **options: Any) -> Any:
    """Read a classifier; raise `InputError` when transformers knows no such architecture, or its weights are broken."""
    try:
        return AutoModelForSequenceClassification.from_pretrained(directory, **options)
    except (ValueError, SafetensorError) as error:
        raise InputError(f"{directory}: {error}") from error


def relabel(model: Any, labels: Sequence[str]) -> None:
    """Make the classifier `model` tell `labels`: what it knows of those that it has stays, others begin untrained."""
    known = [model.config.id2label[index].lower() for index in range(model.config.num_labels)]
    if known == list(labels):
        return
    name, head = next(
        (name, layer)
        for name, layer in reversed(list(model.named_modules()))
        if isinstance(layer, nn.Linear) and layer.out_features == len(known)
    )
    fresh = nn.Linear(head.in_features, len(labels))
    with torch.no_grad():
        fresh.weight.normal_(std=0.02)
        fresh.bias.zero_()
        for index, label in enumerate(labels):
            if label in known:
                fresh.weight[index] = head.weight[known.index(label)]
                fresh.bias[index] = head.bias[known.index(label)]
    model.set_submodule(name, fresh)
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {label: index for index, label in enumerate(labels)}
    model.num_labels = len(labels)
