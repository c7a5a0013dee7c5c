"""Texts to token ids. The number of tokens is what a text costs, so it is known before anything is queued."""

import json
from array import array
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Encoding as FastEncoding
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.implementations import BertWordPieceTokenizer
from tokenizers.models import WordPiece

from ..errors import ArtifactError
from ..types import Encoding
from .windows import cut

_AT_ONCE = 8
# Hugging Face exports a tokenizer into the model's folder or, for some hub models, beside the ONNX file alone.
_FILES = ("tokenizer.json", "onnx/tokenizer.json")


class Tokenizer:
    """The model's own tokenizer, truncating to `max_tokens` and never padding.

    It is safe to use from several threads: truncation is set once, here, and never changed again.
    """

    def __init__(self, tokenizer: FastTokenizer, max_tokens: int) -> None:
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens)
        self._tokenizer = tokenizer
        self.max_tokens = max_tokens

    @classmethod
    def load(cls, directory: Path, max_tokens: int) -> "Tokenizer":
        """Read the tokenizer of a model directory; raise `ArtifactError` when there is none that can be read."""
        try:
            return cls(_read(directory), max_tokens)
        except ArtifactError:
            raise
        except Exception as error:  # tokenizers raises bare Exception on a file it cannot parse
            raise ArtifactError(f"{directory}: the tokenizer cannot be read: {error}") from error

    def encode(self, text: str) -> Encoding:
        """Tokenise one text."""
        return _encoding(self._tokenizer.encode(text))

    def encode_many(self, texts: Sequence[str]) -> list[Encoding]:
        """Tokenise several texts, without holding the interpreter's lock.

        A few at a time: what is cut off of a long text takes a hundred times the memory of what is kept.
        """
        if len(texts) == 1:
            return [self.encode(texts[0])]
        kept: list[Encoding] = []
        for start in range(0, len(texts), _AT_ONCE):
            encodings = self._tokenizer.encode_batch_fast(list(texts[start : start + _AT_ONCE]))
            kept += map(_encoding, encodings)
        return kept

    def encode_windows(self, texts: Sequence[str]) -> list[list[Encoding]]:
        """Tokenise several texts whole, as `encode_many` does: one with too many tokens becomes several windows."""
        found: list[list[Encoding]] = []
        for start in range(0, len(texts), _AT_ONCE):
            # Not the fast way, which doesn't say where words begin.
            encodings = self._tokenizer.encode_batch(list(texts[start : start + _AT_ONCE]))
            found += [_windows(encoding, self.max_tokens) for encoding in encodings]
        return found


def _encoding(encoding: FastEncoding) -> Encoding:
    # In an array, because a list of long texts has a hundred thousand tokens, or millions: four bytes each, not forty,
    # and nothing that the event loop would have to free one by one.
    return Encoding(array("i", encoding.ids), truncated=bool(encoding.overflowing))


def _windows(encoding: FastEncoding, max_tokens: int) -> list[Encoding]:
    rest = encoding.overflowing  # each look copies all of it
    if not rest:
        return [_encoding(encoding)]
    # The tokenizer cut where the limit is, and put the model's special tokens around each piece.
    special = encoding.special_tokens_mask
    head, tail = special.index(0), special[::-1].index(0)
    ids: list[int] = []
    words: list[int | None] = []
    for piece in (encoding, *rest):
        end = len(piece) - tail
        ids += piece.ids[head:end]
        words += piece.word_ids[head:end]
    first, last = encoding.ids[:head], encoding.ids[len(encoding) - tail :]
    return [
        Encoding(array("i", [*first, *ids[window.start : window.stop], *last]), truncated=False)
        for window in cut(words, max_tokens - head - tail)
    ]


def _read(directory: Path) -> FastTokenizer:
    for name in _FILES:
        if (directory / name).is_file():
            return FastTokenizer.from_file(str(directory / name))
    if (directory / "vocab.txt").is_file():
        return _wordpiece(directory)
    raise ArtifactError(f"{directory}: no tokenizer.json or vocab.txt")


def _wordpiece(directory: Path) -> FastTokenizer:
    """BERT's tokenizer, from the list of word pieces that older checkpoints have instead of a tokenizer.json."""
    config_file = directory / "tokenizer_config.json"
    config = json.loads(config_file.read_text()) if config_file.is_file() else {}
    lowercase = bool(config.get("do_lower_case", True))
    pieces = WordPiece.read_file(str(directory / "vocab.txt"))
    wrapped = BertWordPieceTokenizer(pieces, lowercase=lowercase)
    return FastTokenizer.from_str(wrapped.to_str())
