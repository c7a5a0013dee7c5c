"""From encodings to predictions: lays out a batch, runs the backend, turns logits into scores, isolates failures."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..cpu import give_way
from ..errors import BackendError
from ..types import Encoding, FloatArray, Prediction
from .backends.base import Backend
from .padding import pad, split

# (texts, tokens each): from one short text to a full batch, so that the first request is not slow and the cost model
# starts from measurements. A slow model runs only the first of these.
_WARMUP_SHAPES = ((1, 8), (1, 64), (8, 16), (1, 32), (16, 32), (1, 128), (8, 64), (1, 512))
_WARMUP_BUDGET_S = 0.5
# Of `find_limit`: the memory of attention can grow with the square of the length. A longer text would take gigabytes at
# start, even if no request ever has one.
_LONGEST_RUN = 2048
_LARGEST_SHAPE = (128, 128)  # of a batch on a GPU


class Runner:
    """Runs batches of encodings on one backend, from several threads at once.

    Scores are the softmax of the logits divided by `temperature`, which calibrates them. Predictions with a confidence
    below `abstain_below` have no label for users.
    """

    def __init__(
        self, backend: Backend, labels: Sequence[str], pad_id: int, temperature: float = 1.0, abstain_below: float = 0.0
    ) -> None:
        self._backend = backend
        self._labels = tuple(labels)
        self._pad_id = pad_id
        self._temperature = temperature
        self._abstain_below = abstain_below

    def run(self, encodings: Sequence[Encoding], *, alone: bool = False) -> list[Prediction | BackendError]:
        """Predict every encoding; never raises.

        A batch that fails runs again in two halves, and so on: a bad text fails alone after a few runs, and a batch
        that is too large for the memory becomes smaller ones. `alone`: see `Batch`.
        """
        try:
            return self._predict(encodings, alone=alone)
        except BaseException as error:  # a panic in a library written in Rust is not an Exception
            if len(encodings) == 1:
                # Only the type: the message is the library's and may quote the text.
                failure = BackendError(f"the model failed on this text ({type(error).__name__})")
                failure.__cause__ = error
                return [failure]
            middle = len(encodings) // 2
            return [*self.run(encodings[:middle]), *self.run(encodings[middle:])]

    def find_limit(self, max_tokens: int, text: Sequence[int] = ()) -> tuple[int, str]:
        """Return how many tokens the model reads, at most `max_tokens`, and the type of the last error, if any.

        Some models count positions from after the padding id, and a config can state more positions than there are. A
        text that is too long for the model would fail at each request, so the longest one that is allowed runs here,
        made from the token ids of a short `text`, but with at most 2,048 tokens. Raises `BackendError` if the model
        does not work.
        """
        # A thread of its own, because a backend may change settings of the thread that it runs in. Like those of
        # `warm_up`, it gives way to the slots of a model that answers callers meanwhile.
        with ThreadPoolExecutor(1, initializer=give_way) as pool:
            last_error = ""

            def reads(tokens: int) -> bool:
                nonlocal last_error
                error = pool.submit(self._predict, [self._stretch(text, tokens)]).exception()
                last_error = type(error).__name__ if error else last_error
                return error is None

            works, fails = max(1, len(text)), min(max_tokens, _LONGEST_RUN)
            pool.submit(self._time, [self._stretch(text, works)]).result()
            if max_tokens <= works or reads(fails):
                return max_tokens, last_error
            guess = fails - self._pad_id - 1
            if works < guess and reads(guess):
                return guess, last_error
            while fails - works > 1:
                middle = (works + fails) // 2
                works, fails = (middle, fails) if reads(middle) else (works, middle)
        return works, last_error

    def _stretch(self, text: Sequence[int], tokens: int) -> Encoding:
        """Return `text` with more copies of its middle token, up to `tokens`; special tokens stay at the ends."""
        ids = list(text) or [self._pad_id]
        middle = len(ids) // 2
        return Encoding([*ids[:middle], *[ids[middle]] * (tokens - len(ids)), *ids[middle:]], truncated=False)

    def warm_up(
        self, *, max_tokens: int, max_batch_size: int, slots: int = 1, text: Sequence[int] = (), spent_s: float = 0.0
    ) -> list[tuple[int, float]]:
        """Run batches of several shapes within these limits; return the tokens and milliseconds of each.

        `max_batch_size` 0 means no limit. Each batch runs in all slots at once, as under load, because they compete
        for memory bandwidth. Its texts are made from the token ids `text`, or are all padding. `spent_s` is the time
        that was spent on warm-up before. Raises `BackendError` if the model does not work.
        """
        measured = []
        shapes = _WARMUP_SHAPES if self._backend.device == "cpu" else (*_WARMUP_SHAPES, _LARGEST_SHAPE)
        with ThreadPoolExecutor(slots, initializer=give_way) as pool:
            first = [self._stretch(text, 1)]
            # The first run loads libraries and chooses kernels, which may take long.
            list(pool.map(self._time, [first] * slots))
            begun_s = time.perf_counter() - spent_s
            for most_texts, most_tokens in shapes:
                texts, tokens = min(most_texts, max_batch_size or most_texts), min(most_tokens, max_tokens)
                encodings = [self._stretch(text, tokens)] * texts
                # The first run of a shape also allocates. That of the longest text was in `find_limit`.
                for _ in range(1 if tokens == max_tokens else 2):
                    elapsed_ms = max(pool.map(self._time, [encodings] * slots))
                    late = time.perf_counter() - begun_s > _WARMUP_BUDGET_S
                    if late:
                        break
                measured.append((texts * tokens, elapsed_ms))
                if late:
                    break
        return measured

    def _time(self, encodings: Sequence[Encoding]) -> float:
        started_s = time.perf_counter()
        try:
            self._predict(encodings)
        except Exception as error:
            raise BackendError(f"the model failed its first run: {error}") from error
        return (time.perf_counter() - started_s) * 1000

    def logits(self, encodings: Sequence[Encoding], *, alone: bool = False) -> FloatArray:
        """Return the backend's logits, before any temperature: float32 of shape (texts, labels)."""
        runs = split([*map(len, encodings)]) if self._backend.skips_padding else []
        if len(runs) < 2:
            batch = pad(encodings, self._pad_id)
            return self._backend.run(replace(batch, alone=True) if alone else batch)
        results = [self.logits([encodings[index] for index in run], alone=alone) for run in runs]
        order = np.argsort(np.concatenate(runs))
        return np.concatenate(results)[order]

    def _predict(self, encodings: Sequence[Encoding], *, alone: bool = False) -> list[Prediction | BackendError]:
        logits = self.logits(encodings, alone=alone)
        if logits.shape != (len(encodings), len(self._labels)):
            raise BackendError(f"expected logits for {len(encodings)} texts and {len(self._labels)} labels")
        if not np.isfinite(logits).all():
            raise BackendError("the model's logits are not finite")
        results: list[Prediction | BackendError] = []
        # By the logits, because at a high temperature scores become equal.
        best_ones = logits.argmax(axis=1).tolist()
        probabilities = softmax(logits, self._temperature)
        log_sums = logits.max(axis=1).astype(np.float64) / self._temperature - np.log(probabilities.max(axis=1))
        every = zip(encodings, best_ones, probabilities.tolist(), log_sums.tolist(), strict=True)
        for encoding, best, scores, log_sum in every:
            named = dict(zip(self._labels, scores, strict=True))
            prediction = Prediction(
                self._labels[best], scores[best], named, encoding.truncated, log_sum, self._abstain_below
            )
            results.append(prediction)
        return results


def softmax(logits: FloatArray, temperature: float = 1.0) -> NDArray[np.float64]:
    """Return probabilities of shape (texts, labels), in double precision so that each row sums to 1 within 1e-6."""
    shifted = np.exp((logits.astype(np.float64) - logits.max(axis=1, keepdims=True)) / temperature)
    probabilities: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities
