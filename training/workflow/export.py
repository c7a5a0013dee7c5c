"""Export the checkpoint of a training, with the checks of `python -m onnx_export`."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from app.inference.artifact import open_artifact
from training.data import Example
from training.errors import InputError

_COMPARED = 1000  # rows


def export_checkpoint(checkpoint: Path, out: Path, held_out: Sequence[Example], trained_on: Sequence[Example]) -> None:
    """Write the int8 artifact `out`. Its golden texts and its development distributions are those of `held_out`.

    int8 and float32 are compared on rows that were trained on, too: few rows are too few to count lost points in half
    percents.
    """
    from onnx_export.__main__ import build  # loads the quantiser, which only this step needs
    from onnx_export.samples import samples_of
    from onnx_export.verify import ParityError

    for name in ("", "transformers"):  # importing the quantiser enables all log messages
        logging.getLogger(name).setLevel(logging.ERROR)
    labelled = [replace(row, source="rows") for row in (*held_out, *trained_on) if row.label is not None][:_COMPARED]
    print(f"Export to {out}", flush=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch has many about its own export
            checks = build(
                str(checkpoint),
                out,
                samples_of(labelled),
                held_out=[row.text for row in held_out],
                version="1",
                keep_fp32=False,
            )
    except ParityError as error:
        raise InputError(
            f"{error}; {checkpoint} can be served with PyTorch, or exported with other limits: "
            "python -m onnx_export --help"
        ) from error
    for name, parity in checks.parity.items():
        print(f"  int8 gives another label to {parity.disagreement:g} % of the {parity.texts} {name}")
    print(f"  served in {checks.invariance.precision}: a text has the same scores alone and in a batch")


def add_exits_to(model: Path, held_out: Sequence[Example], trained_on: Sequence[Example]) -> None:
    """Give the artifact `model` exits, if there are any that change next to nothing on the rows held out."""
    from onnx_export.samples import samples_of
    from onnx_export.verify import spell
    from training.exits import add_exits, describe_exits

    labels = open_artifact(str(model)).labels
    samples = [spell(sample, labels) for sample in samples_of([row for row in held_out if row.label is not None])]
    print("Exits", flush=True)
    try:
        outcomes = add_exits(
            model, [row.text for row in trained_on], samples, on_note=lambda line: print(f"  {line}", flush=True)
        )
    except InputError as error:
        print(f"  none: {error}")
        return
    for line in describe_exits(outcomes):
        print(f"  {line}")
