"""Where rows come from: the format and the encoding of a file, and its lines."""

import codecs
import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import TableError, TableOptionError

INPUTS = ("csv", "tsv", "jsonl", "parquet", "lines")
OUTPUTS = ("csv", "tsv", "jsonl", "parquet")
DELIMITERS = {"csv": ",", "tsv": "\t"}
_SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_SUFFIXES |= {".parquet": "parquet", ".pq": "parquet", ".txt": "lines"}
# UTF-32 first, because its mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_LONGEST_LINE = 16 * 1024 * 1024  # characters: a file without line breaks must not fill the memory

_MUCH_BYTES = 64 * 1024 * 1024  # from which on `Source.max_growth` counts

_MARK_BYTES = "rt-sentiment-mark-bytes"
_MARKED = re.compile("[\udc00-\udcff]")


def _mark_bytes(error: UnicodeError) -> tuple[str, int]:
    """Turn bytes that cannot be decoded into surrogates, so that the error can name their line."""
    assert isinstance(error, UnicodeDecodeError)
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_MARK_BYTES, _mark_bytes)


def has_invalid_bytes(text: str) -> bool:
    return not text.isascii() and _MARKED.search(text) is not None


def show_invalid_bytes(text: str) -> str:
    r"""Write each byte that could not be decoded as `\xff`."""
    return _MARKED.sub(lambda mark: f"\\x{ord(mark[0]) - 0xDC00:02x}", text)


def format_of(path: str, named: str | None, option: str) -> str:
    """Return the format that is named with the option, or that the name of the file says."""
    found = named or _SUFFIXES.get(Path(path.lower().removesuffix(".gz")).suffix)
    if found is None:
        where = "standard input or output" if path == "-" else path
        raise TableOptionError(f"{where}: the format is not known by its name", f"set {{{option}}}")
    if found == "parquet" and path.lower().endswith(".gz"):
        raise TableOptionError(f"{path}: Parquet is compressed already; gzip is not supported around it")
    return found


def source_of(
    path: str,
    named: str | None,
    encoding: str,
    delimiter: str,
    *,
    header: bool = True,
    quotes: bool = True,
    option: str = "input_format",
) -> "Source":
    """Return the input that the options describe. Raises `TableOptionError` for a wrong one.

    `option` is the one that names the format.
    """
    found = format_of(path, named, option)
    delimiter = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
    if len(delimiter) > 1 or delimiter in ('"', "\n", "\r"):
        raise TableOptionError("delimiter: expected one character, or tab")
    try:
        "".encode(encoding or "utf-8")
    except LookupError:
        raise TableOptionError(f"encoding: {encoding} is not known") from None
    return Source(path, found, encoding, delimiter or DELIMITERS.get(found, ","), header, quotes)


@dataclass(frozen=True, slots=True)
class Source:
    """The input: its path, or `-` for standard input, and how its text is laid out."""

    path: str
    format: str
    encoding: str = ""  # empty: by the byte order mark, otherwise UTF-8
    delimiter: str = ","
    header: bool = True
    quotes: bool = True

    @property
    def name(self) -> str:
        return "standard input" if self.path == "-" else self.path

    @property
    def is_file(self) -> bool:
        """Whether it can be read twice."""
        return self.path != "-" and Path(self.path).is_file()

    @property
    def max_growth(self) -> int | None:
        """How many times as large a compressed input may become. None: as large as it is."""
        return None

    @contextmanager
    def open_binary(self) -> Iterator[io.BufferedReader]:
        if self.path == "-":
            assert isinstance(sys.stdin.buffer, io.BufferedReader)
            yield sys.stdin.buffer
            return
        try:
            stream = Path(self.path).open("rb")  # noqa: SIM115 - closed below, where its errors are not of opening
        except OSError as error:
            raise TableError(f"{self.path}: {error.strerror}") from None
        with stream:
            yield stream

    @contextmanager
    def open_lines(self) -> Iterator["Lines"]:
        """Open the text, decompressed and decoded."""
        with self.open_binary() as raw:
            stream = _Gunzip(raw, self) if self.path.lower().endswith(".gz") else raw
            try:
                head = stream.peek(4)[:4]
            except (OSError, EOFError) as error:
                raise TableError(f"{self.name}: {error}") from None
            marked = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "utf-8")
            encoding = self.encoding or marked
            # Rows of CSV end at any kind of line break, all others at a line feed.
            newline = "" if self.format in ("csv", "tsv") else "\n"
            text = io.TextIOWrapper(stream, encoding, errors=_MARK_BYTES, newline=newline)
            try:
                yield Lines(text, self.name, encoding)
            finally:
                text.detach()  # standard input stays open


class _Gunzip(gzip.GzipFile):
    """Decompresses. Raises `TableError` for what becomes far too large, which no real table does."""

    def __init__(self, raw: io.BufferedReader, source: Source) -> None:
        super().__init__(fileobj=raw)
        self._raw = raw
        self._source = source
        self._bytes = 0

    def read1(self, size: int = -1) -> bytes:
        data = super().read1(size)
        self._bytes += len(data)
        growth = self._source.max_growth
        if growth and self._bytes > _MUCH_BYTES and self._bytes > growth * self._raw.tell():
            raise TableError(f"{self._source.name}: decompressed, it is more than {growth} times as large")
        return data


class Lines:
    """Iterates over lines, and remembers those that the current row has taken."""

    def __init__(self, stream: io.TextIOWrapper, name: str, encoding: str) -> None:
        self.name = name
        self.encoding = encoding
        self._stream = stream
        self._read = 0
        self._taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            line = self._stream.readline(_LONGEST_LINE)
        except (EOFError, OSError, zlib.error, UnicodeError) as error:
            raise TableError(f"{self.name}, line {self._read + 1}: cannot be read: {error}") from None
        if not line:
            raise StopIteration
        self._read += 1
        if len(line) == _LONGEST_LINE:
            raise TableError(f"{self.name}, line {self._read}: longer than {_LONGEST_LINE:,} characters")
        if self._read == 1:
            line = line.removeprefix("\ufeff")
        self._taken.append(line)
        return line

    def take(self) -> tuple[int, str]:
        """Return the number of the first line since the last call, from 1, and the text of all of them."""
        first, text = self._read - len(self._taken) + 1, "".join(self._taken)
        self._taken.clear()
        return first, text
