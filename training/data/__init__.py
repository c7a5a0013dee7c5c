"""Labelled text: read it from files and datasets, look through it, divide it, and generate more of it."""

from training.data.arguments import add_layout_arguments, read_tables
from training.data.examples import check_labels, read, read_all, read_source
from training.data.findings import DataReport, Division
from training.data.labels import LABELS, LabelMap, label_key, meaning, order_labels, respell
from training.data.overlap import hold_out, without
from training.data.parsing import read_table
from training.data.passages import detokenise, split_passages
from training.data.report import report
from training.data.splices import make_splices
from training.data.split import all_alike, default_dev_share, folds, split
from training.data.table import Example, Table, join_tables, labels_of
from training.data.templates import write_sentences

__all__ = [
    "LABELS",
    "DataReport",
    "Division",
    "Example",
    "LabelMap",
    "Table",
    "add_layout_arguments",
    "all_alike",
    "check_labels",
    "default_dev_share",
    "detokenise",
    "folds",
    "hold_out",
    "join_tables",
    "label_key",
    "labels_of",
    "make_splices",
    "meaning",
    "order_labels",
    "read",
    "read_all",
    "read_source",
    "read_table",
    "read_tables",
    "report",
    "respell",
    "split",
    "split_passages",
    "without",
    "write_sentences",
]
