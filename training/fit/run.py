"""The directory of a training: what was asked for, how it went, and the state from which it goes on."""

import json
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from training.errors import InputError
from training.files import read_json, replace

_SAVE_EVERY_S = 600.0


class Run:
    """`run.json` (settings), `history.jsonl` (steps and evaluations), `checkpoint/` (the model), `plots/`, `state.pt`.

    Opening the directory of an interrupted run goes on with it. One that was made with other settings, or is finished,
    raises `InputError`: nothing that a training has made is overwritten.
    """

    def __init__(self, directory: Path, settings: Mapping[str, Any]) -> None:
        self.directory = directory
        self.checkpoint = directory / "checkpoint"
        self._history_file = directory / "history.jsonl"
        self._state_file = directory / "state.pt"
        self._began_s = self._saved_s = time.monotonic()
        self._stated = directory / "run.json"
        self._settings = json.loads(json.dumps(settings))
        if self._stated.is_file():
            if read_json(self._stated) != self._settings:
                raise InputError(f"{directory} holds a run with other settings (run.json); name another directory")
            if (directory / "report.json").is_file():
                raise InputError(f"{directory} holds a finished run; name another directory")
        elif directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise InputError(f"{directory} is not empty and no run; name another directory")

    def begin(self) -> dict[str, Any] | None:
        """Begin, or return the state that was saved last, to go on from there."""
        self.directory.mkdir(parents=True, exist_ok=True)
        replace(self._stated, json.dumps(self._settings, indent=2) + "\n")
        self._began_s = self._saved_s = time.monotonic()
        state: dict[str, Any] | None = None
        if self._state_file.is_file():
            state = torch.load(self._state_file, map_location="cpu", weights_only=True)
        # What was written down after the state was saved will happen again: steps, and an evaluation at that step.
        done = state["step"] if state else 0
        kept = [entry for entry in self.history() if entry["step"] < done + ("dev" not in entry)]
        replace(self._history_file, "".join(json.dumps(entry) + "\n" for entry in kept))
        return state

    @property
    def lasted_s(self) -> float:
        """Seconds since it began, or last went on."""
        return time.monotonic() - self._began_s

    def save(self, state: dict[str, Any]) -> None:
        """Save `state`, so that a crash in the middle leaves the one before."""
        fresh = self._state_file.with_suffix(".new")
        torch.save(state, fresh)
        fresh.replace(self._state_file)
        self._saved_s = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to save the state again."""
        return time.monotonic() - self._saved_s > _SAVE_EVERY_S

    def note(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the history."""
        with self._history_file.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def history(self) -> list[dict[str, Any]]:
        """Every line of the history; one that a crash cut off in the middle is none."""
        lines = self._history_file.read_text().split("\n")[:-1] if self._history_file.is_file() else []
        return [json.loads(line) for line in lines]

    def finish(self, report: Mapping[str, Any]) -> None:
        """Write settings and report, into the checkpoint too, for its export: with that it is finished."""
        for file in (self.checkpoint / "training.json", self.directory / "report.json"):
            replace(file, json.dumps(self._settings | dict(report), indent=2) + "\n")
        self._state_file.unlink(missing_ok=True)


class Signals:
    """Notes SIGTERM and Ctrl-C, so that the step at hand is finished and the state saved. A second one ends at once."""

    received = False

    def __enter__(self) -> "Signals":
        self._before = {each: signal.signal(each, self._note) for each in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _note(self, *_: object) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = True
