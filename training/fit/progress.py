"""The progress of a training: a bar in the terminal, and entries in the history of the run."""

import time
from collections import deque

from tqdm import tqdm

from training.fit.run import Run

_RECORD_EVERY = 10  # steps
AVERAGED_STEPS = 100  # loss and throughput are means over this many last steps


class Progress:
    """A bar with loss, learning rate, throughput and time left, and an entry in the history every ten steps."""

    def __init__(self, run: Run, steps: int, steps_per_epoch: int, done: int) -> None:
        self._run = run
        self._steps_per_epoch = steps_per_epoch
        self._bar = tqdm(total=steps, initial=done, unit="step", mininterval=10, dynamic_ncols=True)
        self._recent: deque[tuple[int, float, float]] = deque(maxlen=AVERAGED_STEPS)  # rows, seconds, loss
        self._began_s = time.perf_counter()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def restart_clock(self) -> None:
        """Exclude the time since the last step from the throughput."""
        self._began_s = time.perf_counter()

    def step(self, rows: int, loss: float, learning_rate: float) -> None:
        """Count one step with a batch of `rows` texts."""
        now_s = time.perf_counter()
        self._recent.append((rows, now_s - self._began_s, loss))
        self._began_s = now_s
        self._bar.update()
        if self._bar.n % _RECORD_EVERY == 0 or self._bar.n == self._bar.total:
            texts, seconds, losses = (sum(column) for column in zip(*self._recent, strict=True))
            figures = {
                "loss": round(losses / len(self._recent), 4),
                "learning_rate": float(f"{learning_rate:.3g}"),
                "texts_per_s": round(texts / seconds, 1),
            }
            self._bar.set_postfix(figures, refresh=False)
            self._run.record({"step": self._bar.n, "epoch": round(self._bar.n / self._steps_per_epoch, 4)} | figures)
