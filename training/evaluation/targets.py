"""What can be evaluated: a model directory on one backend, or a running server. Texts in, probabilities out."""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
from tqdm import tqdm

from app.errors import SentimentError
from app.inference.artifact import Artifact, open_artifact
from app.inference.backends import has_torch
from app.inference.model import Model, load_model
from app.types import FloatArray
from training.errors import InputError
from training.evaluation.metrics import Probabilities

# What the server runs at once, by default: in int8 a batch shares the scale of its activations.
BATCH_SIZE, _BATCH_TOKENS = 16, 512
_TEXTS_A_REQUEST = 64
_PATIENCE_S = 120  # that a server may go on refusing
# The server rounds to four digits: a score of 0 is less than half of the last one, and not impossible.
_LEAST_SCORE = 5e-5


@dataclass(frozen=True, slots=True)
class Target:
    """Something that scores texts: probabilities of shape (texts, labels), in the texts' order."""

    name: str
    labels: tuple[str, ...]
    score: Callable[[Sequence[str]], Probabilities]


def open_targets(name: str, backend: str | None = None, batch_size: int = BATCH_SIZE) -> list[Target]:
    """Open a server's address, or a model directory on `backend`; without one, on each that works here.

    `batch_size` is for directories: 1 scores each text as a lone one is served.

    Raises `SentimentError` or `InputError` when nothing can be opened.
    """
    if name.startswith(("http://", "https://")):
        return [server(name.rstrip("/"))]
    artifact = open_artifact(name)
    variants = [variant for variant in _variants(artifact) if backend in (None, variant[0])]
    targets, failures = [], []
    for kind, precision in variants:
        try:
            targets.append(local(load_model(name, backend=kind, precision=precision), name, batch_size))
        except SentimentError as error:
            failures.append(f"{name} on {kind} {precision}: {error}")
    if not targets:
        held = ", ".join(sorted(artifact.files))
        raise InputError("; ".join(failures) or f"{name}: nothing for {backend or 'what is installed'}; it has {held}")
    for failure in failures:
        print(f"left out: {failure}", file=sys.stderr)
    return targets


def _variants(artifact: Artifact) -> list[tuple[str, str]]:
    kinds = {"int8": ("onnx", "int8"), "onnx": ("onnx", "fp32")} | (
        {"safetensors": ("torch", "fp32")} if has_torch() else {}
    )
    return [variant for kind, variant in kinds.items() if kind in artifact.files]


def local(model: Model, name: str, batch_size: int = BATCH_SIZE) -> Target:
    """Score as the service does: with its tokenizer and its runner, in batches of the size it makes."""

    def score(texts: Sequence[str]) -> Probabilities:
        with _progress(len(texts), model.artifact.name) as bar:
            predictions = model.predict(texts, batch_size=batch_size, batch_tokens=_BATCH_TOKENS, on_done=bar.update)
        return np.array([[*prediction.scores.values()] for prediction in predictions])

    backend = model.backend
    return Target(f"{name.rstrip('/')} {backend.name} {backend.precision}", model.artifact.labels, score)


def logits(model: Model, texts: Sequence[str]) -> FloatArray:
    """What the backend itself says, before any temperature: shape (texts, labels)."""
    with _progress(len(texts), model.artifact.name) as bar:
        return model.logits(texts, batch_size=BATCH_SIZE, batch_tokens=_BATCH_TOKENS, on_done=bar.update)


def server(address: str) -> Target:
    """Score with the server at `address`, through POST /predict/batch, as its users do, with `EVALUATE_API_KEY`."""
    told = _ask(f"{address}/info")
    labels = tuple(told["labels"])
    longest, at_once = told["limits"]["max_text_chars"], min(_TEXTS_A_REQUEST, told["limits"]["max_batch_texts"])

    def score(texts: Sequence[str]) -> Probabilities:
        scores = np.empty((len(texts), len(labels)))
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        with _progress(len(texts), address) as bar:
            for start in range(0, len(order), at_once):
                places = order[start : start + at_once]
                # What a model of 512 tokens reads is well within the characters that a server takes.
                found = _ask(f"{address}/predict/batch", {"texts": [texts[place][:longest] for place in places]})
                for place, prediction in zip(places, found["predictions"], strict=True):
                    scores[place] = [prediction["scores"][label] for label in labels]
                bar.update(len(places))
        return np.maximum(scores, _LEAST_SCORE)

    return Target(f"{address} {told['backend']} {told['precision']}", labels, score)


def _ask(url: str, body: object = None) -> Any:
    """GET, or POST with a body; while the server is busy or loading, wait as long as it says and ask again."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("EVALUATE_API_KEY"):
        headers["X-API-Key"] = key
    request = Request(url, None if body is None else json.dumps(body).encode(), headers)
    given_up_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with urlopen(request, timeout=60) as response:  # of the server that its user names # nosec B310
                return json.load(response)
        except HTTPError as error:
            with error:
                content = error.read().decode(errors="replace")
            wait_s = _seconds(error.headers.get("Retry-After")) if error.code in (429, 503) else None
            if wait_s is None or time.monotonic() + wait_s > given_up_s:
                raise InputError(f"{url} answered {error.code}: {_detail(content)}") from None
            time.sleep(wait_s)
        except (URLError, TimeoutError, ConnectionError) as error:
            raise InputError(f"{url} cannot be reached: {error}") from error
        except ValueError as error:
            raise InputError(f"{url} answered no JSON: {error}") from error


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after and retry_after.isdecimal() else 1.0  # others may write a date


def _detail(content: str) -> str:
    try:
        return str(json.loads(content)["detail"])
    except (ValueError, KeyError, TypeError):
        return content[:200] or "nothing"


def _progress(texts: int, name: str) -> tqdm:
    """A bar where people watch, and none in a log."""
    return tqdm(total=texts, desc=name, unit=" texts", disable=None, leave=False)
