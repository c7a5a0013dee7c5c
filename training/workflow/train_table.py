"""From a table to a served model: report, split, choice, training, calibration, figures and export.

from training.workflow import train_table

trained = train_table("reviews.csv", text_column="review", label_column="stars", name="stars")
print(trained.macro_f1, trained.serve_command)
"""

import re
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.inference.files import MANIFEST
from app.inference.tokenizer import Tokenizer
from training.checkpoints import Calibration, calibrate_checkpoint, keep_memory
from training.data import (
    DataReport,
    Division,
    Example,
    LabelMap,
    Table,
    all_alike,
    hold_out,
    labels_of,
    read_source,
    report,
    split,
)
from training.errors import InputError, UsageError
from training.evaluation import ALL, Evaluation, suite_examples
from training.files import note
from training.fit import EMBEDDED, ENCODER, Choice, FinishedRun, artifact_of, choose_for, fine_tune, start_directory
from training.workflow.export import add_exits_to, export_checkpoint
from training.workflow.results import evaluate_checkpoint, write_results

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TAKEN = (EMBEDDED, ENCODER)


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training has made: a checkpoint in `run`, and the artifact `model` unless it was not to be exported."""

    run: Path
    model: Path | None
    evaluation: Evaluation = field(repr=False)
    calibration: Calibration | None = field(repr=False)

    @property
    def checkpoint(self) -> Path:
        return self.run / "checkpoint"

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes, from 0 to 1, on the rows to measure on (over all sets, if there are several)."""
        reports = self.evaluation.reports
        return (reports.get(ALL) or next(iter(reports.values()))).macro_f1

    @property
    def serve_command(self) -> str:
        return f"{_program()} serve --model {shlex.quote(str(self.model or self.checkpoint))}"


def _program() -> str:
    """Return how to call the command line here: in an environment that is not activated, by its path."""
    script = Path(sys.executable).with_name("rt-sentiment")
    found = shutil.which("rt-sentiment")
    if not script.is_file() or (found and Path(found).samefile(script)):
        return "rt-sentiment"
    here = Path.cwd()
    return shlex.quote(str(script.relative_to(here) if script.is_relative_to(here) else script))


def train_table(
    source: str | Path,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    name: str | None = None,
    dev: str | Path | None = None,
    label_map: str = "",
    layout: Mapping[str, Any] | None = None,
    drop_bad_rows: bool = False,
    **options: Any,
) -> Trained:
    """Train on a file; see `train_rows` for the `options`.

    `dev` is a file to measure on; without it, a part of the rows is set aside. `label_map` is as for --map, and
    `layout` has `format`, `delimiter`, `encoding` and `quotes`. Raises `InputError` for what cannot be used.
    """
    reading: dict[str, Any] = {"text_column": text_column, "label_column": label_column, **(layout or {})}
    reading["label_map"] = LabelMap.parse(label_map) or None

    def read(file: str | Path) -> Table:
        table = read_source(file, **reading).note_unused(reading["label_map"])
        return (table.drop_bad() if drop_bad_rows else table).check()

    table = read(source)
    measured_on = read(dev) if dev else None
    return train_rows(table, measured_on, name or name_of(table), **options)


def train_rows(
    table: Table,
    dev: Table | None,
    name: str,
    *,
    preset: str = "auto",
    start: str | Path | None = None,
    runs: Path = Path("runs"),
    models: Path = Path("models"),
    export: bool = True,
    exits: bool = False,
    dev_share: float | None = None,
    **settings: Any,
) -> Trained:
    """Train on `table` in `runs/name`, and export the result to `models/name`, with `exits` if they lose nothing.

    `settings` are those of a recipe, instead of the ones that `preset` chooses from the data. The same call again
    resumes a training that was interrupted, and repeats only the steps after one that is finished.
    """
    began_s = time.monotonic()
    keep_memory()
    run, model = runs / name, models / name
    _check_name(name, model if export else None)
    train, measured_on = divide(table, dev, dev_share, settings.get("seed", 7))
    choice = choose_for(train.rows, preset, str(start) if start else None, settings)
    if exits and not choice.recipe.early_layers:
        choice = replace(
            choice, recipe=replace(choice.recipe, early_layers=_layers_with_exits(choice.start, len(train)))
        )
    rows = _look_through(train, measured_on, choice, is_split=dev is None)
    print("\n".join(("Data", *(f"  {line}" for line in rows.lines()))))
    if len(labels := labels_of(train.rows)) == 1 and not choice.recipe.keep_labels:
        # Before the encoder is fetched.
        raise InputError(f"a training needs at least two labels; all rows have {labels[0]}")
    print("\n".join(("Choice", *(f"  {reason}" for reason in choice.reasons), f"Training in {run}")), flush=True)
    try:
        fine_tune(start_directory(choice.start), run, train.rows, measured_on, choice.recipe)
    except FinishedRun:
        print("  it is finished; the steps after it are done again")
    note(run, phase="calibrate")
    calibration = _calibrate(run / "checkpoint", measured_on)
    evaluation = evaluate_checkpoint(run / "checkpoint", measured_on)
    write_results(run, evaluation, calibration, rows)
    if export:
        note(run, phase="export")
        export_checkpoint(run / "checkpoint", model, measured_on, train.rows)
        if exits:
            note(run, phase="exits")
            add_exits_to(model, measured_on, train.rows)
    trained = Trained(run, model if export else None, evaluation, calibration)
    print(f"Done in {(time.monotonic() - began_s) / 60:.1f} min. To serve it:\n  {trained.serve_command}", flush=True)
    return trained


def _layers_with_exits(start: str, texts: int) -> tuple[int, ...]:
    """Return the layers after which a model learns to answer, too, because it will get exits there."""
    from training.exits import FEWEST_TEXTS, count_layers, usual_exits

    if texts < FEWEST_TEXTS:
        return ()
    return usual_exits(count_layers(artifact_of(start)))


def _look_through(train: Table, measured_on: Sequence[Example], choice: Choice, *, is_split: bool) -> DataReport:
    table = replace(train, rows=[*train.rows, *measured_on]) if is_split else train
    base = artifact_of(choice.start)
    tokenizer = Tokenizer.load(base.directory, 10**6)
    labels = base.labels if choice.start != ENCODER else ()
    found = report(table, base_labels=labels, tokenizer=tokenizer, max_tokens=choice.recipe.max_tokens)
    measured = {row.label for row in measured_on}
    unmeasured = [label for label in labels_of(train.rows) if label not in measured]
    return replace(found, division=Division(len(train), len(measured_on), unmeasured, all_alike(measured_on)))


def divide(table: Table, dev: Table | None, share: float | None, seed: int) -> tuple[Table, list[Example]]:
    """Return the rows to train on and those to measure on. No text of the second is in the first."""
    kept = hold_out(table, suite_examples(), "the behavioural suite")
    train, measured_on = (kept.rows, dev.rows) if dev else split(kept.rows, seed=seed, dev_share=share)
    kept = hold_out(replace(kept, rows=train), measured_on, dev.name if dev else "the rows to measure on")
    if not kept.rows:
        raise InputError(f"every text of {table.name} is also in {dev.name if dev else 'the rows to measure on'}")
    return kept, measured_on


def _calibrate(checkpoint: Path, dev: Sequence[Example]) -> Calibration | None:
    try:
        calibration = calibrate_checkpoint(checkpoint, dev)
    except InputError as error:
        print(f"Calibration\n  {error}")
        return None
    print(f"Calibration\n  {calibration.finding}\n  {calibration.comparison}")
    return calibration


def name_of(table: Table) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", table.rows[0].source).strip("-._")
    if not name:
        raise UsageError(f"{table.name}: give the model a name with --name")
    return name


def _check_name(name: str, model: Path | None) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a model: use letters, digits, '.', '_' and '-'")
    if name in _TAKEN:
        raise UsageError(f"{name} is the name of a model that comes with rt-sentiment; choose another --name")
    if model and model.exists() and not (model / MANIFEST).is_file():
        raise UsageError(f"{model} exists and is not a model that could be replaced; choose another --name")
