"""A model with exits."""

from pathlib import Path

from onnx_export.verify import Sample
from tests.support.artifacts import copy_without_exits
from training.data import write_sentences
from training.evaluation import suite_examples
from training.exits import add_exits
from training.exits.add import Settings
from training.exits.thresholds import Limits


def add_exits_to_copy(directory: Path) -> Path:
    """Copy the embedded model to a new directory, with exits after 3 and 4 of its 6 layers."""
    copy_without_exits(directory)
    sentences = [row for row in write_sentences(2200, seed=3) if row.label]
    texts = [*(row.text for row in sentences[300:]), *(row.text for row in suite_examples())]
    dev = Sample("dev", [row.text for row in sentences[:300]], [str(row.label) for row in sentences[:300]])
    settings, limits = Settings(after=(3, 4), units=16, epochs=20), Limits(other_labels=0.5, lost_points=1)
    add_exits(directory, texts, [dev], settings=settings, limits=limits, on_note=lambda _: None)
    return directory
