"""The directory of a training: its settings, its history, and the state to resume from."""

import fcntl
import importlib.util
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import torch

from training.errors import BusyRun, InputError
from training.files import note, read_json, replace
from training.fit.recipe import Recipe

_SAVE_EVERY_S = 600.0
_MOST_DIFFERENCES = 5
_DEFAULTS = {f"recipe.{name}": value for name, value in json.loads(json.dumps(asdict(Recipe()))).items()}
_LOCKS: dict[Path, TextIO] = {}  # that this process holds; the system releases them when it ends


class FinishedRun(InputError):
    """The directory holds the same run, and it is finished."""


class Run:
    """`run.json` (settings), `history.jsonl` (steps and evaluations), `checkpoint/` (the model), `plots/`, `state.pt`.

    An interrupted run with the same settings is resumed. A run that has other settings or is finished raises
    `InputError`, so that no result is overwritten. `progress.json` is for programs that follow the run.
    """

    def __init__(self, directory: Path, settings: Mapping[str, Any]) -> None:
        self.directory = directory
        self.checkpoint = directory / "checkpoint"
        self._history_file = directory / "history.jsonl"
        self._state_file = directory / "state.pt"
        self._began_s = self._saved_s = time.monotonic()
        self._settings_file = directory / "run.json"
        self._board: Any = None
        self._lock_file = directory.absolute() / "lock"
        self._settings = json.loads(json.dumps(settings))
        if self._settings_file.is_file():
            if differences := _differences(read_json(self._settings_file), self._settings):
                listed = "; ".join(differences)
                raise InputError(
                    f"{directory} holds a run with other settings: {listed}; use the same settings "
                    "to go on, delete it to start over, or choose another directory (rt-sentiment train: --name)"
                )
            if (directory / "report.json").is_file():
                raise FinishedRun(f"{directory} holds a finished run; choose another directory")
            self._take_lock()
        elif directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise InputError(f"{directory} exists and does not hold a run; choose another directory")

    def begin(self) -> dict[str, Any] | None:
        """Create the directory, and return the last saved state if the run resumes."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        replace(self._settings_file, json.dumps(self._settings, indent=2) + "\n")
        self._began_s = self._saved_s = time.monotonic()
        state: dict[str, Any] | None = None
        if self._state_file.is_file():
            state = torch.load(self._state_file, map_location="cpu", weights_only=True)
        # Entries after the saved state will be written again: later steps, and an evaluation at the same step.
        done = state["step"] if state else 0
        kept = [entry for entry in self.history() if entry["step"] < done + ("dev" not in entry)]
        replace(self._history_file, "".join(json.dumps(entry) + "\n" for entry in kept))
        self._board = _board(self.directory / "tensorboard", done)
        return state

    @property
    def lasted_s(self) -> float:
        """Seconds since the run started or resumed."""
        return time.monotonic() - self._began_s

    def save(self, state: dict[str, Any]) -> None:
        """Save `state`. After a crash in between, the previous state is still there."""
        fresh = self._state_file.with_suffix(".new")
        torch.save(state, fresh)
        fresh.replace(self._state_file)
        self._saved_s = time.monotonic()
        note(self.directory, saved=state["step"])

    @property
    def is_save_due(self) -> bool:
        return time.monotonic() - self._saved_s > _SAVE_EVERY_S

    def record(self, entry: Mapping[str, Any]) -> None:
        """Append an entry to the history."""
        with self._history_file.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        if self._board:
            for name, value in _scalars(entry):
                self._board.add_scalar(name, value, entry["step"])

    def history(self) -> list[dict[str, Any]]:
        """Return all entries of the history, except for a line that a crash has cut off."""
        lines = self._history_file.read_text().split("\n")[:-1] if self._history_file.is_file() else []
        return [json.loads(line) for line in lines]

    def finish(self, report: Mapping[str, Any]) -> None:
        """Finish the run: write settings and report, also to the checkpoint, where the exporter reads them."""
        if self._board:
            self._board.close()
        for file in (self.checkpoint / "training.json", self.directory / "report.json"):
            replace(file, json.dumps(self._settings | dict(report), indent=2) + "\n")
        self._state_file.unlink(missing_ok=True)
        _LOCKS.pop(self._lock_file).close()
        self._lock_file.unlink(missing_ok=True)

    def _take_lock(self) -> None:
        """Keep other processes out of the directory until the run is finished, or the process ends in any way."""
        if self._lock_file in _LOCKS:
            return
        file = self._lock_file.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                file.seek(0)
                process = file.read()
            raise BusyRun(
                f"process {process} is training in {self.directory}; wait until it is finished, or choose another "
                "directory"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        _LOCKS[self._lock_file] = file


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return a phrase for each setting that differs."""
    before, now = _flat(old), _flat(new)
    # A run from before a setting existed has had its default.
    before = {name: value for name, value in _DEFAULTS.items() if name in now} | before
    names = [name for name in before | now if before.get(name) != now.get(name)]
    phrases = [
        f"{name} differs"
        if name.endswith("sha256")
        else f"{name} is {before.get(name)} there, and {now.get(name)} here"
        for name in names
    ]
    more = [f"and {len(phrases) - _MOST_DIFFERENCES} more"] if len(phrases) > _MOST_DIFFERENCES else []
    return phrases[:_MOST_DIFFERENCES] + more


def _flat(settings: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{start}{name}.") if isinstance(value, dict) else {start + name: value}
    return flat


def _board(directory: Path, step: int) -> Any:
    """Return a writer of TensorBoard's logs, or None if it is not installed. What it has from `step` on is hidden."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter  # fails without it

    return SummaryWriter(str(directory), purge_step=step)


def _scalars(entry: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the figures of an entry with their names in TensorBoard."""
    for name, value in entry.items():
        if name == "dev":
            yield from ((f"{each}/{figure}", number) for each, all_ in value.items() for figure, number in all_.items())
        elif name != "step":
            yield f"train/{name}" if "loss" in entry else name, value


class Signals:
    """Records SIGTERM and Ctrl-C, so that the training can save its state. A second signal stops it at once."""

    received = False

    def __enter__(self) -> "Signals":
        self._before = {each: signal.signal(each, self._receive) for each in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _receive(self, *_: object) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = True
