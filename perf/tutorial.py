"""The server that most tutorials build: a `def` endpoint in FastAPI's thread pool, one `session.run` a request.

Tuned in good faith: the fast tokenizer, one ONNX Runtime thread a request without spinning (the defaults are slower
here), uvloop and httptools, no access log.
"""

from pathlib import Path

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI
from pydantic import BaseModel
from tokenizers import Tokenizer

_MODEL = Path(__file__).parent.parent / "models" / "sentiment-en"
_LABELS = ("negative", "neutral", "positive")


class Body(BaseModel):
    text: str


class Sentiment(BaseModel):
    label: str
    confidence: float


app = FastAPI()
tokenizer = Tokenizer.from_file(str(_MODEL / "tokenizer.json"))
tokenizer.enable_truncation(512)
tokenizer.no_padding()
options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = ort.InferenceSession(str(_MODEL / "model_int8.onnx"), options, providers=["CPUExecutionProvider"])


@app.post("/predict")
def predict(body: Body) -> Sentiment:
    ids = np.array([tokenizer.encode(body.text).ids], dtype=np.int64)
    logits = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0]
    scores = np.exp(logits - logits.max())
    scores /= scores.sum()
    best = int(scores.argmax())
    return Sentiment(label=_LABELS[best], confidence=float(scores[best]))
