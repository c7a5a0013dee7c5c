"""From encodings to predictions: lays out a batch, runs the backend, turns logits into scores, isolates failures."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from ..cpu import give_way
from ..errors import BackendError
from ..types import Batch, Encoding, FloatArray, Payload, Prediction, Unfinished
from .backends.base import Backend, BackendWithExits
from .padding import pad, split
from .scores import Scores, softmax

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
        self._pad_id = pad_id
        self._temperature = temperature
        self._scores = Scores(labels, abstain_below)
        self._with_exits = backend if isinstance(backend, BackendWithExits) and backend.exits else None
        exits = self._with_exits.exits if self._with_exits else None
        self._exits, self._layers = (exits.exits, exits.layers) if exits else ((), 0)

    @property
    def parts(self) -> int:
        """The number of parts of the model; 1 if it has no exits."""
        return len(self._exits) + 1

    def run(self, encodings: Sequence[Encoding], *, alone: bool = False) -> list[Prediction | BackendError]:
        """Predict every encoding, through as many parts of the model as it needs; never raises. See `step`."""
        results = self.step(encodings, alone=alone)
        while going_on := {place: each for place, each in enumerate(results) if isinstance(each, Unfinished)}:
            for place, result in zip(going_on, self.step([*going_on.values()], alone=alone), strict=True):
                results[place] = result
        return [each for each in results if not isinstance(each, Unfinished)]

    def step(self, payloads: Sequence[Payload], *, alone: bool = False) -> list[Prediction | Unfinished | BackendError]:
        """Run the first part of the model on encodings, or the next one on unfinished texts; never raises.

        All of them must have been through the same parts. The result of a text that has to go on is `Unfinished`.

        A batch that fails runs again in two halves, and so on: a bad text fails alone after a few runs, and a batch
        that is too large for the memory becomes smaller ones. `alone`: see `Batch`.
        """
        try:
            return self._predict(payloads, alone=alone)
        except BaseException as error:  # a panic in a library written in Rust is not an Exception
            if len(payloads) == 1:
                # Only the type: the message is the library's and may quote the text.
                failure = BackendError(f"the model failed on this text ({type(error).__name__})")
                failure.__cause__ = error
                return [failure]
            middle = len(payloads) // 2
            return [*self.step(payloads[:middle]), *self.step(payloads[middle:])]

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
                error = pool.submit(self._run_all_parts, [self._stretch(text, tokens)]).exception()
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
        ids = [*ids[:middle], *[ids[middle]] * (tokens - len(ids)), *ids[middle:]]
        return Encoding(ids, truncated=False, depth="full")

    def warm_up(
        self, *, max_tokens: int, max_batch_size: int, slots: int = 1, text: Sequence[int] = (), spent_s: float = 0.0
    ) -> list[tuple[int, list[float]]]:
        """Run batches of several shapes within these limits; return the tokens of each, and the milliseconds by part.

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
                    elapsed_ms = [*map(max, zip(*pool.map(self._time, [encodings] * slots), strict=True))]
                    late = time.perf_counter() - begun_s > _WARMUP_BUDGET_S
                    if late:
                        break
                measured.append((texts * tokens, elapsed_ms))
                if late:
                    break
        return measured

    def _time(self, encodings: Sequence[Encoding]) -> list[float]:
        try:
            return self._run_all_parts(encodings)
        except Exception as error:
            raise BackendError(f"the model failed its first run: {error}") from error

    def _run_all_parts(self, encodings: Sequence[Encoding]) -> list[float]:
        """Run texts of the depth "full"; return the milliseconds of each part."""
        elapsed_ms = []
        payloads: Sequence[Payload] = encodings
        for _ in range(self.parts):
            started_s = time.perf_counter()
            results = self._predict(payloads)
            elapsed_ms.append((time.perf_counter() - started_s) * 1000)
            payloads = [each for each in results if isinstance(each, Unfinished)]
        return elapsed_ms

    def logits(self, encodings: Sequence[Encoding], *, alone: bool = False) -> FloatArray:
        """Return the logits of the whole model, before any temperature: float32 of shape (texts, labels)."""
        return self._in_runs(encodings, alone=alone, run=lambda batch, _: (self._backend.run(batch), []))[0]

    def _run_part(
        self, part: int, encodings: Sequence[Encoding], states: Sequence[FloatArray], *, alone: bool
    ) -> tuple[FloatArray, list[FloatArray]]:
        """Return the logits after a part, and the states of each text; there are none after the last part."""
        backend = self._with_exits
        if backend is None:
            return self.logits(encodings, alone=alone), []

        def run(batch: Batch, places: Sequence[int]) -> tuple[FloatArray, list[FloatArray]]:
            before = np.concatenate([states[place] for place in places]) if states else None
            logits, after = backend.run_part(part, batch, before)
            return logits, np.split(after, batch.attention_mask.sum(axis=1).cumsum()[:-1]) if len(after) else []

        return self._in_runs(encodings, alone=alone, run=run)

    def _in_runs(
        self,
        encodings: Sequence[Encoding],
        *,
        alone: bool,
        run: Callable[[Batch, Sequence[int]], tuple[FloatArray, list[FloatArray]]],
    ) -> tuple[FloatArray, list[FloatArray]]:
        """Run a batch, or those that it is better split into; return the results in the order of `encodings`.

        `run` gets a batch and the places of its texts. It returns logits and, for each text, states; or no states.
        """
        runs = split([*map(len, encodings)]) if self._backend.skips_padding else []
        runs = runs if len(runs) > 1 else [[*range(len(encodings))]]
        logits: list[FloatArray] = []
        states: dict[int, FloatArray] = {}
        for places in runs:
            batch = pad([encodings[place] for place in places], self._pad_id)
            values, after = run(replace(batch, alone=True) if alone else batch, places)
            logits.append(values)
            states.update(zip(places, after, strict=False))
        return np.concatenate(logits)[np.argsort(np.concatenate(runs))], [states[place] for place in sorted(states)]

    def _predict(
        self, payloads: Sequence[Payload], *, alone: bool = False
    ) -> list[Prediction | Unfinished | BackendError]:
        part, encodings, states = _unpack(payloads)
        logits, states = self._run_part(part, encodings, states, alone=alone)
        if logits.shape != (len(encodings), len(self._scores.labels)):
            raise BackendError(f"expected logits for {len(encodings)} texts and {len(self._scores.labels)} labels")
        if not np.isfinite(logits).all():
            raise BackendError("the model's logits are not finite")
        if part == len(self._exits):
            return [*self._scores.predictions(encodings, logits, self._temperature, self._layers)]
        at = self._exits[part]
        sure, close = at.judge(softmax(logits, at.temperature))
        first, *others = payloads
        was_alone = not (alone or others) and (isinstance(first, Encoding) or first.alone)
        results: dict[int, Prediction | Unfinished | BackendError] = {}
        leaving: list[int] = []
        for place, encoding in enumerate(encodings):
            may_leave = encoding.depth == "auto"
            if may_leave and close[place] and not was_alone:
                results[place] = self._decide_alone(encoding, part)
            elif (may_leave and sure[place]) or encoding.most_parts == part + 1:
                leaving.append(place)
            else:
                results[place] = Unfinished(encoding, part + 1, states[place], was_alone)
        early = [encodings[place] for place in leaving]
        predictions = self._scores.predictions(early, logits[leaving], at.temperature, at.layers) if early else []
        for place, prediction in zip(leaving, predictions, strict=True):
            results[place] = prediction if sure[place] else replace(prediction, shallow=True)
        return [results[place] for place in range(len(encodings))]

    def _decide_alone(self, encoding: Encoding, part: int) -> Prediction | Unfinished | BackendError:
        """Return the result of a text after a part as if it were alone from the start.

        Scores may differ in their last digits with the other texts of a batch. The depth must not.
        """
        payload: Any = replace(encoding, depth="full")
        for _ in range(part):
            (payload,) = self._predict([payload])
        (result,) = self._predict([replace(payload, encoding=encoding) if part else encoding])
        return result


def _unpack(
    payloads: Sequence[Payload],
) -> tuple[int, list[Encoding], list[FloatArray]]:
    """Return the number of the part that comes next, the texts, and their states, if they have any."""
    unfinished = [each for each in payloads if isinstance(each, Unfinished)]
    if not unfinished:
        return 0, [each for each in payloads if isinstance(each, Encoding)], []
    return unfinished[0].parts, [each.encoding for each in unfinished], [each.states for each in unfinished]
