"""What the peers share: the embedded model as a user would run it, one thread per call.

A batch contains texts in order of arrival and is padded to its longest text.
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
MAX_BATCH_SIZE = 32  # from BentoML's example; infinity's default; the others have no default
FOLDER = Path(__file__).parents[2] / "models" / "sentiment-en"
_MAX_TOKENS = 512


class Model:
    """The same model file that the service uses."""

    def __init__(self) -> None:
        self._tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        self._tokenizer.enable_padding()
        self._session = ort.InferenceSession(
            str(FOLDER / "model_int8.onnx"),
            _options(),
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["SkipLayerNormFusion"],  # as in the service, so that only the servers differ
        )

    def predict(self, texts: Sequence[str]) -> list[dict[str, str | float]]:
        encodings = self._tokenizer.encode_batch(list(texts))
        ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
        return self._predictions(ids, mask)

    def predict_one(self, text: str) -> dict[str, str | float]:
        """The same for one text, without building lists."""
        ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
        return self._predictions(ids, np.ones_like(ids))[0]

    def _predictions(self, ids: np.ndarray, mask: np.ndarray) -> list[dict[str, str | float]]:
        logits = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
        best = scores.argmax(axis=1)
        return [
            {"label": LABELS[label], "confidence": float(row[label])} for label, row in zip(best, scores, strict=True)
        ]


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    # There are as many parallel calls as cores. More threads, or spinning threads, would only compete for the cores.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if overflows_in_int8():  # otherwise the labels would be wrong
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options
