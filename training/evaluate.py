"""How good a checkpoint, or a running server, is on labelled text."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

from app.runner import pad
from app.tokenizer import Tokenizer
from training.examples import LABELS, Example, read_all

# texts → probabilities or logits of shape (texts, labels), in the order of LABELS
Scorer = Callable[[list[str]], NDArray[np.floating]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `python -m training evaluate`."""
    parser.add_argument("model", help="directory of a checkpoint, or http://… of a server")
    parser.add_argument("--dev", nargs="+", required=True)


def main(args: argparse.Namespace) -> None:
    """Evaluate as the command line says."""
    scorer = server_scorer(args.model.rstrip("/")) if args.model.startswith("http") else torch_scorer(Path(args.model))
    print(json.dumps(evaluate(scorer, read_all(args.dev)), indent=2))


def evaluate(scorer: Scorer, examples: Sequence[Example]) -> dict[str, dict[str, float]]:
    """Score every set among `examples`, by name: see `measure`."""
    report = {}
    for source in sorted({example.source for example in examples}):
        members = [example for example in examples if example.source == source]
        scores = scorer([example.text for example in members])
        report[source] = measure(scores, [LABELS.index(example.label) for example in members])
    return report


def measure(scores: NDArray[np.floating], labels: Sequence[int]) -> dict[str, float]:
    """Accuracy (over the classes that the set has: SST-2 has no neutral), macro recall and macro F1, rounded."""
    truth = np.asarray(labels)
    present = np.unique(truth)
    best = present[scores[:, present].argmax(axis=1)]
    recalls, f1s = [], []
    for label in present:
        hits = int(((best == label) & (truth == label)).sum())
        recalls.append(hits / max(1, int((truth == label).sum())))
        f1s.append(2 * hits / max(1, int((best == label).sum() + (truth == label).sum())))
    figures = {
        "accuracy": float((best == truth).mean()),
        "macro_recall": float(np.mean(recalls)),
        "macro_f1": float(np.mean(f1s)),
    }
    return {name: round(value, 4) for name, value in figures.items()}


def torch_scorer(checkpoint: Path, max_tokens: int = 512) -> Scorer:
    """Score with the fp32 PyTorch model at `checkpoint`."""
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    tokenizer = Tokenizer.load(checkpoint, max_tokens)

    def score(texts: list[str]) -> NDArray[np.floating]:
        encodings = tokenizer.encode_many(texts)
        order = sorted(range(len(texts)), key=lambda index: len(encodings[index]))
        logits = np.empty((len(texts), model.config.num_labels), dtype=np.float32)
        for start in range(0, len(order), 16):
            chosen = order[start : start + 16]
            batch = pad([encodings[index] for index in chosen], model.config.pad_token_id)
            ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
            with torch.inference_mode():
                logits[chosen] = model(input_ids=ids, attention_mask=mask).logits.numpy()
        return logits

    return score


def server_scorer(address: str, texts_a_request: int = 64) -> Scorer:
    """Score with the server at `address`, through POST /predict/batch, as its users do."""

    def score(texts: list[str]) -> NDArray[np.floating]:
        scores = []
        for start in range(0, len(texts), texts_a_request):
            body = json.dumps({"texts": texts[start : start + texts_a_request]}).encode()
            request = Request(f"{address}/predict/batch", body, {"Content-Type": "application/json"})
            with urlopen(request, timeout=60) as response:
                found = json.load(response)["predictions"]
            scores += [[prediction["scores"][label] for label in LABELS] for prediction in found]
        return np.array(scores)

    return score
