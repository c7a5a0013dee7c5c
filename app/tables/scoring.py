"""Scores windows of texts: in this process, and several windows at a time in their order."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

from ..errors import BackendError
from .reader import Window
from .rows import Rows
from .writing import Result

if TYPE_CHECKING:
    from ..inference import Model
    from ..types import LongText

# If so many texts fail and none succeeds, the model is broken, not the texts.
ENOUGH_TEXTS = 32
# The best batches: a processor gains nothing from more texts, a GPU does.
_BATCH = {"cuda": {"batch_size": 128, "batch_tokens": 16_384}}
_WINDOW = Window()


class Scorer(ABC):
    """Scores lists of texts; several threads may call it."""

    labels: Sequence[str]
    window: Window
    parallel: int  # windows at a time
    description: dict[str, object]  # of what gives the answers: an output is continued with the same only

    @abstractmethod
    def score(self, texts: Sequence[str]) -> list[Result]:
        """Return a result for each text. Raises `SentimentError` if it makes no sense to go on."""

    @abstractmethod
    def cancel(self) -> None:
        """Make calls of `score` that are running end soon, with any exception."""


class ModelScorer(Scorer):
    """A model in this process."""

    parallel = 1  # a window runs in all slots; the next one is read, and the last one written, meanwhile

    def __init__(self, model: "Model", long_text: "LongText") -> None:
        self._model = model
        self._long_text = long_text
        self._cancelled = Event()
        info = model.info
        self.labels = info.labels
        self.window = _WINDOW
        self.description = {
            "model": f"{info.model} {info.model_version} {info.checksum}",
            "backend": f"{info.backend} {info.precision}",
            "abstain_below": info.abstain_below,
            "exits": [*info.exits, info.manifest] if info.exits else [],
        }

    def score(self, texts: Sequence[str]) -> list[Result]:
        from ..inference import normalise  # `rt-sentiment score --help` needs no tokenizer

        # The model would refuse the whole list because of a blank text.
        normalised = [normalise(text) for text in texts]
        visible = [text for text in normalised if text]
        results = iter(self._predict(visible) if visible else [])
        scored: list[Result] = [next(results) if text else "the text has no visible character" for text in normalised]
        if len(visible) >= ENOUGH_TEXTS and all(isinstance(result, str) for result in scored):
            raise BackendError(f"the model fails at every text: {next(filter(None, scored))}")
        return scored

    def _predict(self, texts: list[str]) -> list[Result]:
        try:
            batch = _BATCH.get(self._model.backend.device, {})
            return list(self._model.predict(texts, long_text=self._long_text, on_done=self._check, **batch))
        except BackendError as error:
            if len(texts) == 1:
                return [str(error)]
            middle = len(texts) // 2
            return [*self._predict(texts[:middle]), *self._predict(texts[middle:])]

    def cancel(self) -> None:
        self._cancelled.set()

    def _check(self, _texts: int) -> None:
        if self._cancelled.is_set():
            raise CancelledError


def score_rows(rows: Rows, score: Callable[[Sequence[str]], list[Result]]) -> list[Result]:
    """Return a result for each row. Equal texts are scored once; rows with a problem are not."""
    texts = dict.fromkeys(text for place, text in enumerate(rows.texts) if place not in rows.problems)
    results = dict(zip(texts, score(list(texts)) if texts else [], strict=True))
    return [rows.problems.get(place) or results[text] for place, text in enumerate(rows.texts)]


def score_windows(windows: Iterable[Rows], scorer: Scorer) -> Generator[tuple[Rows, list[Result]], None, None]:
    """Yield each window with its results, in order; the next ones are scored meanwhile."""
    waiting: deque[tuple[Rows, Future[list[Result]]]] = deque()
    pool = ThreadPoolExecutor(scorer.parallel)
    try:
        for rows in windows:
            waiting.append((rows, pool.submit(score_rows, rows, scorer.score)))
            if len(waiting) > scorer.parallel:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()
    finally:
        scorer.cancel()  # after an error, or Ctrl-C; otherwise nothing is running
        pool.shutdown(cancel_futures=True)
