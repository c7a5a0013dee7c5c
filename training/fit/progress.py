"""The progress of a training: a bar in a terminal, a line every minute elsewhere, and entries in the history."""

import sys
import time
from collections import deque
from typing import Any

from tqdm import tqdm

from training.files import note
from training.fit.run import Run

RECORD_EVERY = 10  # steps
_LINE_EVERY_S = 60.0
_NOTE_EVERY_S = 0.5


def averaged_steps(steps: int) -> int:
    """Return how many steps the moving average of the loss is over: a twentieth of the training, from 5 to 100."""
    return min(100, max(5, steps // 20))


class Progress:
    """Loss, learning rate, throughput and time left for people, and an entry in the history every ten steps.

    `following` is how many trainings come after this one, for the estimate of the time left. `state` is what an
    interrupted training resumes with, so that its moving average goes on.
    """

    def __init__(
        self, run: Run, steps: int, steps_per_epoch: int, done: int, losses: list[float], *, following: int = 0
    ) -> None:
        self._run = run
        self._steps, self._done = steps, done
        self._steps_per_epoch = steps_per_epoch
        self._steps_after = steps * following
        self._bar = tqdm(total=steps, initial=done, unit="step", mininterval=1, dynamic_ncols=True, disable=None)
        self._losses = deque(losses, maxlen=averaged_steps(steps))
        self._recent: deque[tuple[int, float]] = deque(maxlen=100)  # rows and seconds of the last steps
        self._began_s = self._line_s = self._noted_s = time.perf_counter()
        note(run.directory, phase="train", done=done, total=steps)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    @property
    def state(self) -> list[float]:
        return list(self._losses)

    def restart_clock(self) -> None:
        """Exclude the time since the last step from the throughput."""
        self._began_s = time.perf_counter()

    def step(self, rows: int, loss: float, learning_rate: float) -> None:
        """Count one step with a batch of `rows` texts."""
        now_s = time.perf_counter()
        self._losses.append(loss)
        self._recent.append((rows, now_s - self._began_s))
        self._began_s = now_s
        self._done += 1
        self._bar.update()
        texts, seconds = (sum(column) for column in zip(*self._recent, strict=True))
        figures: dict[str, Any] = {
            "loss": round(sum(self._losses) / len(self._losses), 4),
            "learning_rate": float(f"{learning_rate:.3g}"),
            "texts_per_s": round(texts / seconds, 1),
        }
        epoch = round(self._done / self._steps_per_epoch, 4)
        if self._done % RECORD_EVERY == 0 or self._done == self._steps:
            self._bar.set_postfix(figures, refresh=False)
            self._run.record({"step": self._done, "epoch": epoch} | figures)
        if now_s - self._noted_s >= _NOTE_EVERY_S or self._done == self._steps:
            self._noted_s = now_s
            rate = round(len(self._recent) / seconds, 4)
            note(self._run.directory, done=self._done, loss=figures["loss"], per_s=rate)
        if self._bar.disable and now_s - self._line_s >= _LINE_EVERY_S:
            self._line_s = now_s
            left_s = (self._steps + self._steps_after - self._done) * seconds / len(self._recent)
            print(
                f"step {self._done} of {self._steps} (epoch {epoch:.1f}): loss {figures['loss']}, learning rate "
                f"{figures['learning_rate']:g}, {figures['texts_per_s']} texts/s, at most {_duration(left_s)} left",
                file=sys.stderr,
                flush=True,
            )


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
