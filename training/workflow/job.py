"""`python -m training.workflow.job`: a training for a background job, in a process that its worker starts.

Standard input has one line of JSON: `folder`, `table`, `name`, `recipe`, and the other arguments of `train_table`. It
stays open for as long as the worker lives. The folder then has the run, the model, and `outcome.json`: `result`, or
`error` with whether another attempt would end in the same way (`is_final`).
"""

import json
import os
import shutil
import sys
import threading
import traceback
from dataclasses import fields
from pathlib import Path
from typing import Any

from app.errors import NotReady, SentimentError
from training.errors import BusyRun, FetchFailed, InputError
from training.files import replace

OUTCOME = "outcome.json"
_INTERRUPTED = 130


def main() -> None:
    """Train. The exit status is 0 if there is an outcome."""
    job: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_worker, daemon=True).start()
    folder = Path(job.pop("folder"))
    try:
        outcome = run(folder, job)
    except KeyboardInterrupt as error:
        print(error or "interrupted", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    replace(folder / OUTCOME, json.dumps(outcome) + "\n")


def run(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Train in `folder`, and return the outcome."""
    try:
        return {"result": _train(folder, **job)}
    except Exception as error:  # the worker has to know of each
        traceback.print_exc()
        return {"error": _explain(error, _places(folder, job.get("start"))), "is_final": _is_final(error)}


def _train(
    folder: Path, *, table: str, name: str, recipe: dict[str, Any] | None = None, **options: Any
) -> dict[str, Any]:
    from training.fit import Recipe
    from training.workflow.card import write_card  # PyTorch: the process must notice before that its worker is gone
    from training.workflow.train_table import train_table

    settings = recipe or {}
    if unknown := settings.keys() - {setting.name for setting in fields(Recipe)}:  # nothing else that a training takes
        raise InputError(f"recipe: {min(unknown)}: unknown setting")
    _clear(folder / "runs" / name, folder / "models")
    places = {"runs": folder / "runs", "models": folder / "models"}
    trained = train_table(folder / table, name=name, **places, **options, **settings)
    return write_card(trained)


def _clear(run: Path, models: Path) -> None:
    """Remove what an attempt has left that was killed while it began a run or wrote a model."""
    if not (run / "run.json").exists():
        shutil.rmtree(run, ignore_errors=True)
    shutil.rmtree(models, ignore_errors=True)


def _is_final(error: Exception) -> bool:
    return isinstance(error, (InputError, SentimentError)) and not isinstance(error, (BusyRun, FetchFailed, NotReady))


def _places(folder: Path, start: str | None) -> list[Path]:
    """Return the folders of the worker that an error may name."""
    return [folder, Path(start).parent] if start and Path(start).is_absolute() else [folder]


def _explain(error: Exception, places: list[Path]) -> str:
    """Return what the job's owner sees: no path, and nothing of a library's message, which may quote a text."""
    if isinstance(error, (InputError, SentimentError)):
        why = str(error)
        for place in places:
            why = why.replace(f"{place}/", "")
        return why
    reason = error.strerror if isinstance(error, OSError) else None
    return f"the training failed: {reason or type(error).__name__}"


def _end_with_worker() -> None:
    """End at once if the worker is gone: another one goes on from the last state that was saved."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
