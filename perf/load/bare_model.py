"""The embedded model without the service: the upper bound for throughput, and the cost of single batches."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tokenizers import Tokenizer

from app.cpu import usable_cores
from app.inference.backends.onnx import open_session
from perf.load.server import ROOT

FOLDER = ROOT / "models" / "sentiment-en"
MAX_TOKENS = 512

Ids = list[int]


class BareModel:
    """One session that several threads share, with one ONNX Runtime thread per call, as in the service."""

    def __init__(self) -> None:
        self._session = open_session(FOLDER / "model_int8.onnx")
        self._tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """Return the token ids of each text. Texts are tokenised one by one."""
        return [self._tokenizer.encode(text).ids for text in texts]

    def run(self, batch: Sequence[Ids]) -> np.ndarray:
        """Pad a batch to its longest text and return the logits, shape (texts, labels)."""
        ids = np.zeros((len(batch), max(map(len, batch))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        logits: np.ndarray = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return logits

    def texts_per_s(self, batches: Sequence[Sequence[Ids]], seconds: float) -> float:
        """Measure texts per second on all cores: one thread per core, each starting at a different batch."""
        threads = usable_cores()
        started_s = time.perf_counter()
        deadline_s = started_s + seconds

        def work(index: int) -> int:
            texts = 0
            while time.perf_counter() < deadline_s:
                texts += len(self.run(batches[index % len(batches)]))
                index += 1
            return texts

        with ThreadPoolExecutor(threads) as pool:
            starts = [number * len(batches) // threads for number in range(threads)]
            return sum(pool.map(work, starts)) / (time.perf_counter() - started_s)

    def batch_ms(self, batch: Sequence[Ids], repeats: int = 5) -> float:
        """Measure one batch, in milliseconds. The minimum counts, because other load can only add time."""
        runs_ms = []
        for _ in range(repeats):
            started_s = time.perf_counter()
            self.run(batch)
            runs_ms.append((time.perf_counter() - started_s) * 1000)
        return min(runs_ms)
