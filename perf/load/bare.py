"""The model's file alone, with nothing of the service's around it: what can be had at most, and what a batch costs."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tokenizers import Tokenizer

from app.cpu import usable_cores
from app.inference.backends.onnx import open_session
from perf.load.server import ROOT

FOLDER = ROOT / "models" / "sentiment-en"
LONGEST = 512

Ids = list[int]


class Bare:
    """One session for several threads, one ONNX Runtime thread each, as in the service."""

    def __init__(self) -> None:
        self._session = open_session(FOLDER / "model_int8.onnx")
        self._tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(LONGEST)

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of each text, tokenised one by one."""
        return [self._tokenizer.encode(text).ids for text in texts]

    def run(self, batch: Sequence[Ids]) -> np.ndarray:
        """Logits, of shape (texts, labels), of texts that are padded to the longest."""
        ids = np.zeros((len(batch), max(map(len, batch))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        logits: np.ndarray = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return logits

    def texts_per_s(self, batches: Sequence[Sequence[Ids]], seconds: float) -> float:
        """Texts per second when a thread a core runs one batch after another, beginning at different ones."""
        threads = usable_cores()
        started_s = time.perf_counter()
        ends_s = started_s + seconds

        def work(place: int) -> int:
            done = 0
            while time.perf_counter() < ends_s:
                done += len(self.run(batches[place % len(batches)]))
                place += 1
            return done

        with ThreadPoolExecutor(threads) as pool:
            places = [number * len(batches) // threads for number in range(threads)]
            return sum(pool.map(work, places)) / (time.perf_counter() - started_s)

    def milliseconds(self, batch: Sequence[Ids], repeats: int = 5) -> float:
        """What a batch takes, the least of several runs: a machine only ever adds to it."""
        taken = []
        for _ in range(repeats):
            started_s = time.perf_counter()
            self.run(batch)
            taken.append((time.perf_counter() - started_s) * 1000)
        return min(taken)
