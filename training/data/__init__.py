"""Labelled text: read it from files and datasets, and generate more of it."""

from training.data.examples import LABELS, Example, check_labels, read, read_all
from training.data.passages import detokenise, split_passages
from training.data.splices import make_splices
from training.data.templates import write_sentences

__all__ = [
    "LABELS",
    "Example",
    "check_labels",
    "detokenise",
    "make_splices",
    "read",
    "read_all",
    "split_passages",
    "write_sentences",
]
