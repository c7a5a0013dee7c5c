"""From texts to token ids. The number of tokens determines the cost of a text, so this happens before queueing."""

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tokenizers import Encoding as FastEncoding
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.normalizers import BertNormalizer

from ..errors import ArtifactError
from ..types import Encoding, Text, unpack
from .files import ModelFiles, open_files
from .windows import cut
from .wordpiece import apply_options, is_bert, read_wordpiece

_CHUNK_TEXTS = 8
# Hugging Face exports the tokenizer into the model's directory or, for some hub models, only next to the ONNX file.
_FILES = ("tokenizer.json", "onnx/tokenizer.json")


class Tokenizer:
    """The model's own tokenizer, which truncates to `max_tokens` and never pads.

    Thread-safe: truncation is set once, here, and never changed.
    """

    def __init__(self, tokenizer: FastTokenizer, max_tokens: int) -> None:
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens)
        self._tokenizer = tokenizer
        self.max_tokens = max_tokens

    @classmethod
    def load(cls, directory: Path, max_tokens: int) -> "Tokenizer":
        """Read the tokenizer of a model directory; raise what `read` raises."""
        return cls.read(open_files(directory), max_tokens)

    @classmethod
    def read(cls, files: ModelFiles, max_tokens: int) -> "Tokenizer":
        """Read the tokenizer of a model; raise `ArtifactError` if it is missing or not readable."""
        try:
            return cls(_read(files), max_tokens)
        except ArtifactError:
            raise
        except Exception as error:  # tokenizers raises a bare Exception for a file that it cannot parse
            raise ArtifactError(f"{files.directory}: the tokenizer cannot be read: {error}") from error

    def digest(self) -> str:
        """Return a digest of everything that decides how texts are tokenised."""
        return hashlib.sha256(self._tokenizer.to_str().encode()).hexdigest()

    def encode(self, text: str) -> Encoding:
        return _encoding(self._tokenizer.encode(text))

    def encode_many(self, texts: Sequence[Text], *, here: bool = False) -> list[Encoding]:
        """Tokenise several texts in the threads of the library, with the interpreter lock released.

        With `here`, in the calling thread alone, with the lock held: only for texts that take little time. It never
        waits for the threads of the library, which long texts of others may keep busy for seconds.
        """
        # Not `encode_batch_fast` for windows, because it does not report word boundaries.
        return [*map(_encoding, self._encode(self._tokenizer.encode_batch_fast, texts, here=here))]

    def encode_windows(self, texts: Sequence[Text], *, here: bool = False) -> list[list[Encoding]]:
        """Tokenise several texts without truncation; a text with too many tokens becomes several windows.

        `here` has the same effect as in `encode_many`.
        """
        encodings = self._encode(self._tokenizer.encode_batch, texts, here=here)
        return [_windows(encoding, self.max_tokens) for encoding in encodings]

    def _encode(
        self, encode_batch: Callable[[list[str]], list[FastEncoding]], texts: Sequence[Text], *, here: bool
    ) -> Iterator[FastEncoding]:
        """Encode a few texts at a time: the tokens cut from a long one take a hundred times the memory of the rest."""
        if here:
            yield from map(self._tokenizer.encode, map(unpack, texts))
            return
        for start in range(0, len(texts), _CHUNK_TEXTS):
            yield from encode_batch([unpack(text) for text in texts[start : start + _CHUNK_TEXTS]])


def _encoding(encoding: FastEncoding) -> Encoding:
    return Encoding(_compact(encoding.ids), truncated=bool(encoding.overflowing))


def _compact(ids: list[int]) -> Sequence[int]:
    # A request can have millions of tokens: they take two bytes each instead of forty, or four if the vocabulary is
    # large, and the event loop need not free them one by one.
    return array("H" if max(ids, default=0) < 2**16 else "i", ids)


def _windows(encoding: FastEncoding, max_tokens: int) -> list[Encoding]:
    rest = encoding.overflowing  # each access copies all of it
    if not rest:
        return [_encoding(encoding)]
    # The tokenizer has cut the text at the limit and added the model's special tokens to each piece.
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
        Encoding(_compact([*first, *ids[window.start : window.stop], *last]), truncated=False)
        for window in cut(words, max_tokens - head - tail)
    ]


def _read(files: ModelFiles) -> FastTokenizer:
    config = files.optional_json("tokenizer_config.json")
    for name in _FILES:
        if files.has(name):
            tokenizer = FastTokenizer.from_buffer(files.read(name))
            if isinstance(tokenizer.normalizer, BertNormalizer) and is_bert(files, config):
                apply_options(tokenizer.normalizer, config)
            return tokenizer
    if files.has("vocab.txt"):
        return read_wordpiece(files, config)
    raise ArtifactError(
        f"{files.directory}: no tokenizer.json or vocab.txt. To write a tokenizer.json, load the tokenizer with "
        "transformers' AutoTokenizer and save it"
    )
