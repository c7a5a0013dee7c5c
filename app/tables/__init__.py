"""Files of rows with texts: read them, score them, and write them with their sentiment. Knows no HTTP."""

from .encoding import converter_for, encoder_for, stream_rows
from .formats import DELIMITERS, INPUTS, OUTPUTS, Source, format_of, source_of
from .parts import decode_part, encode_part
from .reader import ADDED, Columns, Reader, Window
from .reading import Scan, open_reader, scan, skip_rows
from .rows import JsonRows, Rows, TableRows
from .scoring import ENOUGH_TEXTS, ModelScorer, Scorer, score_rows, score_windows
from .writing import Encoder, Result, render

__all__ = [
    "ADDED",
    "DELIMITERS",
    "ENOUGH_TEXTS",
    "INPUTS",
    "OUTPUTS",
    "Columns",
    "Encoder",
    "JsonRows",
    "ModelScorer",
    "Reader",
    "Result",
    "Rows",
    "Scan",
    "Scorer",
    "Source",
    "TableRows",
    "Window",
    "converter_for",
    "decode_part",
    "encode_part",
    "encoder_for",
    "format_of",
    "open_reader",
    "render",
    "scan",
    "score_rows",
    "score_windows",
    "skip_rows",
    "source_of",
    "stream_rows",
]
