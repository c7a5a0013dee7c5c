"""What a prediction looks like in Redis: its key, and its value in a few bytes. Pure.

A key has no words of users: it is a digest of everything that changes an answer. A value is

    marker        2 bytes
    truncated     1 byte
    label         2 bytes: its number
    layers        2 bytes
    log_sum       8 bytes
    scores        8 bytes each, in the order of the labels
    check         8 bytes: a digest of the key and of all that is before it

Numbers are as exact as in the process, so an answer from Redis is the same, to the last byte, as one that is computed.
"""

import hashlib
import math
import struct
from collections.abc import Sequence

from ...types import Prediction

PREFIX = b"rt-sentiment:cache:"
_MARKER = b"p2"
_CHECK_BYTES = 8
_TOLERANCE = 1e-6  # of the sum of the scores


class Entries:
    """Keys and values of the predictions of one model, whose `fingerprint` no other has."""

    def __init__(self, fingerprint: bytes, labels: Sequence[str], abstain_below: float) -> None:
        """`abstain_below` only changes what is shown, so models that differ in nothing else share predictions."""
        self._fingerprint = fingerprint
        self._labels = tuple(labels)
        self._numbers = {label: number for number, label in enumerate(self._labels)}
        self._abstain_below = abstain_below
        self._form = struct.Struct(f"<2s?HHd{len(self._labels)}d")

    def key(self, text: bytes) -> bytes:
        """Return the key in Redis for that of a text, or of a window, in the cache of the process."""
        return PREFIX + hashlib.blake2b(text, digest_size=20, key=self._fingerprint).hexdigest().encode()

    def pack(self, key: bytes, prediction: Prediction) -> bytes:
        scores = (prediction.scores[label] for label in self._labels)
        number = self._numbers[prediction.label]
        content = self._form.pack(_MARKER, prediction.truncated, number, prediction.layers, prediction.log_sum, *scores)
        return content + _check(key, content)

    def unpack(self, key: bytes, value: bytes | None) -> Prediction | None:
        """Return the prediction in `value`; None if it is none, or was not written for this key."""
        if value is None or len(value) != self._form.size + _CHECK_BYTES:
            return None
        content, check = value[:-_CHECK_BYTES], value[-_CHECK_BYTES:]
        if check != _check(key, content):
            return None
        marker, truncated, number, layers, log_sum, *scores = self._form.unpack(content)
        # Anybody can compute the digest, so what would be an invalid response is not passed on.
        if marker != _MARKER or number >= len(scores) or not math.isfinite(log_sum):
            return None
        if not (min(scores) >= 0 and abs(sum(scores) - 1) <= _TOLERANCE):
            return None
        return Prediction(
            self._labels[number],
            scores[number],
            dict(zip(self._labels, scores, strict=True)),
            truncated,
            log_sum,
            self._abstain_below,
            layers,
        )


def _check(key: bytes, content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_CHECK_BYTES, key=key).digest()
