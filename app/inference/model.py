"""A loaded model: how it predicts, and its properties."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeVar

import numpy as np

from ..cpu import usable_cores
from ..errors import BackendError, CorruptArtifact, InvalidInput, SentimentError
from ..logs import log
from ..types import Depth, Encoding, FloatArray, LongText, ModelInfo, Prediction
from .artifact import Artifact, open_artifact
from .backends import Backend, BackendWithExits, Choice, choices, has_gpu, has_torch, load_backend
from .batches import BATCH_TOKENS, group_by_length
from .runner import Runner
from .text import normalise
from .tokenizer import Tokenizer
from .windows import average

T = TypeVar("T")

_GPU_SLOTS = 2  # one batch is prepared while another runs
_MOCK_SLOTS = 2
_WARMUP_TEXT = "a a"


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model: its tokenizer and its runner, warmed up."""

    artifact: Artifact
    tokenizer: Tokenizer
    backend: Backend
    runner: Runner
    info: ModelInfo
    warmup: list[tuple[int, list[float]]]  # tokens of each warm-up batch, and milliseconds by part

    @property
    def part_costs(self) -> list[float]:
        """What each part of the model costs, in the cost of the first one."""
        return [
            median(elapsed_ms[part] / elapsed_ms[0] for _, elapsed_ms in self.warmup)
            for part in range(self.runner.parts)
        ]

    def predict(
        self,
        texts: Sequence[str],
        *,
        long_text: LongText = "truncate",
        batch_size: int = 16,
        batch_tokens: int = BATCH_TOKENS,
        on_done: Callable[[int], object] = lambda _: None,
    ) -> list[Prediction]:
        """Predict `texts`, in their order. Blocks until all are done.

        Texts of similar length run together, at most `batch_size` texts and `batch_tokens` tokens at a time, in as many
        threads as the backend has slots. A text with more tokens than the model reads is cut or, with
        `long_text="window"`, read in windows. `on_done` is called after each batch with the number of its texts. Raises
        `InvalidInput`, with the index of the text in `loc`, for a text without a visible character, and `BackendError`
        when the model fails.
        """
        normalised = self._normalise(texts)
        if long_text == "window":
            parts = self.tokenizer.encode_windows(normalised)
        else:
            parts = [[encoding] for encoding in self.tokenizer.encode_many(normalised)]
        encodings = [encoding for windows in parts for encoding in windows]
        results: dict[int, Prediction] = {}
        for places, batch in self._run(self.runner.run, encodings, batch_size, batch_tokens):
            for place, result in zip(places, batch, strict=True):
                if isinstance(result, BackendError):
                    raise result
                results[place] = result
            on_done(len(places))
        in_order = iter([results[place] for place in range(len(encodings))])
        return [average([next(in_order) for _ in windows], [*map(len, windows)]) for windows in parts]

    def logits(
        self,
        texts: Sequence[str],
        *,
        batch_size: int = 16,
        batch_tokens: int = BATCH_TOKENS,
        on_done: Callable[[int], object] = lambda _: None,
    ) -> FloatArray:
        """Return the backend's logits before any temperature: float32 of shape (texts, labels). See `predict`."""
        encodings = self.tokenizer.encode_many(self._normalise(texts))
        logits = np.empty((len(texts), len(self.artifact.labels)), dtype=np.float32)
        for places, values in self._run(self.runner.logits, encodings, batch_size, batch_tokens):
            logits[places] = values
            on_done(len(places))
        return logits

    def _normalise(self, texts: Sequence[str]) -> list[str]:
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise TypeError("expected a sequence of texts")
        normalised = [normalise(text) for text in texts]
        if "" in normalised:
            raise InvalidInput("the text has no visible character", (normalised.index(""),))
        return normalised

    def _run(
        self, run: Callable[[list[Encoding]], T], encodings: Sequence[Encoding], batch_size: int, batch_tokens: int
    ) -> Iterator[tuple[list[int], T]]:
        batches = group_by_length([*map(len, encodings)], batch_size, batch_tokens)
        pool = ThreadPoolExecutor(self.backend.slots)
        try:
            results = pool.map(lambda places: run([encodings[place] for place in places]), batches)
            yield from zip(batches, results, strict=True)
        finally:
            pool.shutdown(cancel_futures=True)  # after an error, or Ctrl-C, the rest must not run


def _describe(artifact: Artifact, backend: Backend) -> ModelInfo:
    formats = {"torch": "safetensors", "onnx": "int8" if backend.precision == "int8" else "onnx"}
    file = artifact.files.get(formats.get(backend.name, ""))
    exits = backend.exits if isinstance(backend, BackendWithExits) else None
    return ModelInfo(
        model=artifact.name,
        model_version=artifact.version,
        labels=artifact.labels,
        max_tokens=artifact.max_tokens,
        temperature=artifact.temperature,
        backend=backend.name,
        device=backend.device,
        precision=backend.precision,
        checksum=f"sha256:{artifact.checksum(file)}" if file else None,
        manifest=f"sha256:{artifact.manifest_sha256}" if artifact.manifest_sha256 else None,
        layers=exits.layers if exits else 0,
        exits=tuple(each.layers for each in exits.exits) if exits else (),
    )


def load_model(
    model: str = "sentiment-en",
    *,
    digest: str = "",
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    slots: int = 0,
    workers: int = 1,
    max_batch_size: int = 0,
    compare: bool = False,
    abstain_below: float = 0.0,
    depth: Depth = "auto",
    mock_delay_ms: float = 0.0,
    mock_failure_rate: float = 0.0,
) -> Model:
    """Load `model` on the best backend that works here, and run it once in each slot.

    `model` is an embedded model, a directory, or a hub name. Its manifest must have the sha256 `digest`, if one is
    given. `backend` is `auto`, `onnx`, `torch`, `mock` or
    `package.module:Class`. `slots` 0 means one per usable core, or two on a GPU, divided among `workers` processes.
    With `auto`, the best backend is the first that works, or with `compare` the fastest of all that work.
    Warm-up batches have at most `max_batch_size` texts (0: no limit). Predictions with a confidence below
    `abstain_below` have no label for users. With `depth` "full", no text leaves at an exit of the model.

    Raises `ArtifactError`, `BackendError` or `SetupError`, which say what to do, if no backend works.
    """
    if backend == "mock":
        from .backends.mock import MockBackend, mock_artifact, mock_tokenizer

        artifact = mock_artifact()
        slots = slots or max(1, _MOCK_SLOTS // workers)
        mock = MockBackend(delay_ms=mock_delay_ms, failure_rate=mock_failure_rate, slots=slots)
        return _warm(artifact, Tokenizer(mock_tokenizer(), artifact.max_tokens), mock, max_batch_size, abstain_below)

    artifact = open_artifact(model, digest)
    artifact.verify_companions()
    artifact = artifact if depth == "auto" else replace(artifact, exits=None)
    tokenizer = Tokenizer.read(artifact.source, artifact.max_tokens)
    candidates = choices(backend, device, artifact, has_torch=has_torch(), has_gpu=has_gpu())
    loaded: list[tuple[Choice, Model]] = []
    for number, choice in enumerate(candidates, 1):
        per_process = _GPU_SLOTS if choice.device == "cuda" else usable_cores()
        slots_here = slots or max(1, per_process // workers)
        try:
            instance = load_backend(
                choice.backend, artifact, device=choice.device, precision=precision, slots=slots_here
            )
            warmed = _warm(artifact, tokenizer, instance, max_batch_size, abstain_below, text=_WARMUP_TEXT)
            loaded.append((choice, warmed))
        except CorruptArtifact:
            raise
        except SentimentError as error:
            is_last = number == len(candidates)
            if is_last and not loaded:
                raise
            event = "backend failed" if is_last else "backend failed, trying the next"
            log(logging.WARNING, event, backend=choice.backend, why=str(error))
        if loaded and not compare:
            break
    (choice, best), reason = loaded[0], loaded[0][0].reason
    if compare:
        # A slow one stops its warm-up early, so they are compared by the batches that all of them ran.
        batches = min(len(each.warmup) for _, each in loaded)
        speeds = [_tokens_per_s(each, batches) for _, each in loaded]
        (choice, best), reason = loaded[speeds.index(max(speeds))], "the fastest of those that were measured"
        names = [f"{each.backend} {each.device}" for each, _ in loaded]
        best = replace(best, info=replace(best.info, compared_tokens_per_s=dict(zip(names, speeds, strict=True))))
    log(logging.INFO, "backend chosen", backend=choice.backend, device=choice.device, why=reason)
    return best


def _warm(
    artifact: Artifact,
    tokenizer: Tokenizer,
    backend: Backend,
    max_batch_size: int,
    abstain_below: float,
    *,
    text: str = "",
) -> Model:
    """Run the model in each slot. `text` is what it runs; padding if empty."""
    runner = Runner(backend, artifact.labels, artifact.pad_id, artifact.temperature, abstain_below)
    ids = tokenizer.encode(text).ids if text else ()
    begun_s = time.perf_counter()
    if text:
        limit, error = runner.find_limit(artifact.max_tokens, ids)
        if limit < artifact.max_tokens:
            why = f"the model failed on a longer text ({error})"
            log(logging.WARNING, "token limit lowered", stated=artifact.max_tokens, reads=limit, why=why)
            artifact = replace(artifact, max_tokens=limit)
            tokenizer = Tokenizer.read(artifact.source, limit)
    warmup = runner.warm_up(
        max_tokens=artifact.max_tokens,
        max_batch_size=max_batch_size,
        slots=backend.slots,
        text=ids,
        spent_s=time.perf_counter() - begun_s,
    )
    info = replace(_describe(artifact, backend), abstain_below=abstain_below)
    return Model(artifact, tokenizer, backend, runner, info, warmup)


def _tokens_per_s(model: Model, batches: int) -> int:
    """Return the throughput of all slots together in the best of the first warm-up batches."""
    return round(model.backend.slots * 1000 * max(tokens / sum(ms) for tokens, ms in model.warmup[:batches]))
