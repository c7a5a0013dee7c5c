"""What the servers of other projects share: the embedded model as their users run it, one thread a call.

A batch is padded to its longest text, in the order in which it comes.
"""

import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from app.cpu import overflows_in_int8

LABELS = ("negative", "neutral", "positive")
MAX_BATCH_SIZE = 32  # as in BentoML's example, and infinity's default; the others leave it to their users
FOLDER = Path(__file__).parents[2] / "models" / "sentiment-en"
_MAX_TOKENS = 512


class Model:
    """The file that the service serves too."""

    def __init__(self) -> None:
        """Load it."""
        self._tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        self._tokenizer.enable_padding()
        self._session = ort.InferenceSession(
            str(FOLDER / "model_int8.onnx"),
            _options(),
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["SkipLayerNormFusion"],  # as in the service, lest the engine's settings be compared
        )

    def predict(self, texts: Sequence[str]) -> list[dict[str, str | float]]:
        """The label and the confidence of each text."""
        encodings = self._tokenizer.encode_batch(list(texts))
        ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
        return self._answers(ids, mask)

    def predict_one(self, text: str) -> dict[str, str | float]:
        """The same of one text, without the detour over lists."""
        ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
        return self._answers(ids, np.ones_like(ids))[0]

    def _answers(self, ids: np.ndarray, mask: np.ndarray) -> list[dict[str, str | float]]:
        logits = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
        best = scores.argmax(axis=1)
        return [
            {"label": LABELS[label], "confidence": float(row[label])} for label, row in zip(best, scores, strict=True)
        ]


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    # As many calls at once as there are cores; more threads, or threads that spin, only get in each other's way.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if overflows_in_int8():  # labels would be wrong, and answers faster than ours
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options
