"""A loaded model: what answers, and what is known about it. Used by the server and by `rt-sentiment predict`."""

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..cpu import usable_cores
from ..errors import ArtifactError, CorruptArtifact, SentimentError
from ..logs import log
from .artifact import Artifact, open_artifact
from .backends import BACKENDS, Choice, choices, has_gpu, has_torch
from .backends.base import Backend
from .runner import Runner
from .tokenizer import Tokenizer

_GPU_SLOTS = 2  # one batch is prepared while the other runs
_MOCK_SLOTS = 2


@dataclass(frozen=True, slots=True)
class Model:
    """Tokenizer and runner of one model, warmed up, with what `/info` says of it."""

    artifact: Artifact
    tokenizer: Tokenizer
    backend: Backend
    runner: Runner
    warmup: list[tuple[int, float]]  # tokens and milliseconds of each warm-up batch
    compared: Mapping[str, int] | None = (
        None  # tokens a second of each backend that was tried, where they were compared
    )

    def describe(self) -> dict[str, Any]:
        """Name, version, labels, checksum and so on, as `/info` shows them."""
        file = next((self.artifact.files[kind] for kind in self._kinds() if kind in self.artifact.files), None)
        return {
            "model": self.artifact.name,
            "model_version": self.artifact.version,
            "labels": list(self.artifact.labels),
            "max_tokens": self.artifact.max_tokens,
            "temperature": self.artifact.temperature,
            "backend": self.backend.name,
            "device": self.backend.device,
            "precision": self.backend.precision,
            "checksum": f"sha256:{self.artifact.checksum(file)}" if file else None,
            "compared_tokens_per_s": self.compared,
        }

    def _kinds(self) -> tuple[str, ...]:
        if self.backend.name == "torch":
            return ("safetensors",)
        return ("int8",) if self.backend.precision == "int8" else ("onnx",)


def load_model(
    model: str,
    *,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    slots: int = 0,
    workers: int = 1,
    max_batch_size: int = 0,
    compare: bool = False,
    mock_delay_ms: float = 0.0,
    mock_failure_rate: float = 0.0,
) -> Model:
    """Load `model` on the best backend that works here, and run it once in each slot.

    With 0 slots there is one for each core or, on a GPU, there are two; `workers` that do the same share them.
    The best is the first that `choices` names or, to `compare`, the one that was fastest in these runs. Their batches
    have `max_batch_size` texts at most (0: any number). Raises `ArtifactError` or `BackendError`, with what to do about
    it, when none works.
    """
    if backend == "mock":
        from .backends.mock import MockBackend, mock_artifact, mock_tokenizer

        artifact = mock_artifact()
        slots = slots or _share(_MOCK_SLOTS, workers)
        mock = MockBackend(delay_ms=mock_delay_ms, failure_rate=mock_failure_rate, slots=slots)
        return _warm(artifact, Tokenizer(mock_tokenizer(), artifact.max_tokens), mock, max_batch_size)

    artifact = open_artifact(model)
    artifact.verify_companions()
    tokenizer = Tokenizer.load(artifact.directory, artifact.max_tokens)
    candidates = choices(backend, device, artifact, has_torch=has_torch(), has_gpu=has_gpu())
    found: list[tuple[Choice, Model]] = []
    for number, choice in enumerate(candidates, 1):
        try:
            loaded = _load(choice, artifact, precision, slots or _share(_slots(choice), workers))
            found.append((choice, _warm(artifact, tokenizer, loaded, max_batch_size)))
        except CorruptArtifact:
            raise
        except SentimentError as error:
            last = number == len(candidates)
            if last and not found:
                raise
            event = "backend failed" if last else "backend failed, trying the next"
            log(logging.WARNING, event, backend=choice.backend, why=str(error))
        if found and not compare:
            break
    (choice, best), why = found[0], found[0][0].reason
    if compare:
        speeds = [_tokens_per_s(each) for _, each in found]
        (choice, best), why = found[speeds.index(max(speeds))], "the fastest of those that were measured"
        names = [f"{each.backend} {each.device}" for each, _ in found]
        best = replace(best, compared=dict(zip(names, speeds, strict=True)))
    log(logging.INFO, "backend chosen", backend=choice.backend, device=choice.device, why=why)
    return best


def _share(slots: int, workers: int) -> int:
    return max(1, slots // workers)


def _slots(choice: Choice) -> int:
    return _GPU_SLOTS if choice.device == "cuda" else usable_cores()


def _load(choice: Choice, artifact: Artifact, precision: str, slots: int) -> Backend:
    module, name = BACKENDS[choice.backend].split(":")
    try:
        backend_class = getattr(importlib.import_module(module, __package__), name)
    except (ImportError, OSError) as error:  # not installed, or one of its libraries is missing
        what = "rt-sentiment[torch]" if choice.backend == "torch" else "rt-sentiment"
        hint = f"pip install '{what}'" if isinstance(error, ModuleNotFoundError) else "its package is there but broken"
        raise ArtifactError(f"the {choice.backend} backend cannot be imported ({error}): {hint}") from error
    backend: Backend = backend_class(artifact, device=choice.device, precision=precision, slots=slots)
    return backend


def _warm(artifact: Artifact, tokenizer: Tokenizer, backend: Backend, max_batch_size: int) -> Model:
    runner = Runner(backend, artifact.labels, artifact.pad_id, artifact.temperature)
    warmup = runner.warm_up(max_tokens=artifact.max_tokens, max_batch_size=max_batch_size, slots=backend.slots)
    return Model(artifact, tokenizer, backend, runner, warmup)


def _tokens_per_s(model: Model) -> int:
    """What all slots together did in the best of the warm-up batches."""
    return round(model.backend.slots * 1000 * max(tokens / ms for tokens, ms in model.warmup))
