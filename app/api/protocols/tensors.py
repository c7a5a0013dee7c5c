"""The binary extension of the Open Inference Protocol: tensors behind the JSON. Numbers are little-endian."""

import sys
from collections.abc import Sequence

from ...errors import InvalidInput, MalformedBody, TextTooLong
from ...types import Text
from ..schemas import Limits
from .messages import InferRequest, count_of, location_of, parse

_SIZE_BYTES = 4  # of the length before each element


class TensorParser:
    """Parses JSON of a known length and the texts behind it. The body may come in pieces of any size.

    Raises what is wrong as soon as it is known, before what a length announces has arrived.
    """

    def __init__(self, json_bytes: int, limits: Limits) -> None:
        self.request: InferRequest | None = None
        self._json_bytes = json_bytes
        self._limits = limits
        self._buffer = bytearray()
        self._left = 0  # bytes of the tensor that have not been parsed
        self._count = 0
        self.texts: list[Text] = []  # packed
        self._text_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Memory of the texts, and of what is not parsed yet."""
        return len(self._buffer) + self._text_bytes

    def feed(self, data: bytes, *, is_last: bool = False) -> None:
        """Parse the next piece of the body.

        Raises `MalformedBody`, `BodyInvalid`, `InvalidInput` and `TextTooLong`.
        """
        self._buffer += data
        if self.request is None and len(self._buffer) >= self._json_bytes:
            self._read_json()
        if self.request is not None:
            while self._read_element():
                pass
            self._check_end()
        if is_last and (self.request is None or self._left):
            part = "its JSON" if self.request is None else "TEXT"
            raise MalformedBody(f"the body ends before the end of {part}")

    def _read_json(self) -> None:
        self.request = parse(self._buffer[: self._json_bytes])
        del self._buffer[: self._json_bytes]
        self._count = count_of(self.request.text, self._limits)
        self._left = self.request.text.binary_bytes or 0

    def _read_element(self) -> bool:
        """Read the next text; return False if it has not arrived completely, or there is none."""
        if self._left < _SIZE_BYTES or len(self._buffer) < _SIZE_BYTES or len(self.texts) == self._count:
            return False
        index = len(self.texts)
        end = _SIZE_BYTES + int.from_bytes(self._buffer[:_SIZE_BYTES], "little")
        if end > self._left:
            raise MalformedBody(f"element {index} of TEXT is longer than what is left of binary_data_size")
        if end - _SIZE_BYTES > 4 * self._limits.max_text_chars:
            raise TextTooLong(f"the text has more than {self._limits.max_text_chars} characters", location_of(index))
        if end > len(self._buffer):
            return False
        encoded = bytes(self._buffer[_SIZE_BYTES:end])
        del self._buffer[:end]
        self._left -= end
        try:
            text = encoded.decode()
        except UnicodeDecodeError:
            raise InvalidInput("the text is not valid UTF-8", location_of(index)) from None
        self.texts.append(text if text.isascii() else encoded)
        self._text_bytes += sys.getsizeof(self.texts[-1])
        return True

    def _check_end(self) -> None:
        is_binary = self.request is not None and self.request.text.is_binary
        if is_binary and self._left < _SIZE_BYTES and len(self.texts) < self._count:
            raise MalformedBody(f"TEXT has {len(self.texts)} elements, but its shape says {self._count}")
        if is_binary and self._left and len(self.texts) == self._count:
            raise MalformedBody(f"TEXT has more bytes than its {self._count} elements need")
        if len(self._buffer) > self._left:
            raise MalformedBody("the body goes on after its JSON and binary_data_size")


def encode_strings(values: Sequence[str]) -> bytes:
    """Return strings as the elements of a tensor."""
    encoded = [value.encode() for value in values]
    return b"".join([part for value in encoded for part in (len(value).to_bytes(_SIZE_BYTES, "little"), value)])
