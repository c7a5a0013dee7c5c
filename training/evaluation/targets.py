"""Targets of an evaluation: a model directory on one backend, or a running server."""

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

_REQUEST_TEXTS = 64
_GIVE_UP_AFTER_S = 120.0  # of a server that answers 429 or 503
# The server rounds to four digits, so a score of 0 means less than this.
_LEAST_SCORE = 5e-5


@dataclass(frozen=True, slots=True)
class Target:
    """Scores texts: `score` returns probabilities of shape (texts, labels), in the order of the texts."""

    name: str
    labels: tuple[str, ...]
    score: Callable[[Sequence[str]], Probabilities]


def open_targets(name: str, backend: str | None = None) -> list[Target]:
    """Open the URL of a server, or a model directory on `backend` or, without it, on each backend that works here.

    Raises `SentimentError` or `InputError` if nothing can be opened.
    """
    if name.startswith(("http://", "https://")):
        return [server(name.rstrip("/"))]
    artifact = open_artifact(name)
    variants = [variant for variant in _variants(artifact) if backend in (None, variant[0])]
    targets, failures = [], []
    for kind, precision in variants:
        try:
            targets.append(local(load_model(name, backend=kind, precision=precision), name))
        except SentimentError as error:
            failures.append(f"{name} on {kind} {precision}: {error}")
    if not targets:
        kinds = ", ".join(sorted(artifact.files))
        reason = f"{name}: no file for {backend or 'the installed backends'}; the model has {kinds}"
        raise InputError("; ".join(failures) or reason)
    for failure in failures:
        print(f"skipped: {failure}", file=sys.stderr)
    return targets


def _variants(artifact: Artifact) -> list[tuple[str, str]]:
    kinds = {"int8": ("onnx", "int8"), "onnx": ("onnx", "fp32")} | (
        {"safetensors": ("torch", "fp32")} if has_torch() else {}
    )
    return [variant for kind, variant in kinds.items() if kind in artifact.files]


def local(model: Model, name: str) -> Target:
    """Score with `model` as the service does."""

    def score(texts: Sequence[str]) -> Probabilities:
        with _progress(len(texts), model.artifact.name) as bar:
            predictions = model.predict(texts, on_done=bar.update)
        return np.array([[*prediction.scores.values()] for prediction in predictions])

    backend = model.backend
    return Target(f"{name.rstrip('/')} {backend.name} {backend.precision}", model.artifact.labels, score)


def logits(model: Model, texts: Sequence[str]) -> FloatArray:
    """Return logits of shape (texts, labels), before any temperature."""
    with _progress(len(texts), model.artifact.name) as bar:
        return model.logits(texts, on_done=bar.update)


def server(address: str) -> Target:
    """Score with the server at `address` through POST /predict/batch, with the API key in `EVALUATE_API_KEY`."""
    info = _request(f"{address}/info")
    labels = tuple(info["labels"])
    longest = info["limits"]["max_text_chars"]
    texts_per_request = min(_REQUEST_TEXTS, info["limits"]["max_batch_texts"])

    def score(texts: Sequence[str]) -> Probabilities:
        scores = np.empty((len(texts), len(labels)))
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        with _progress(len(texts), address) as bar:
            for start in range(0, len(order), texts_per_request):
                places = order[start : start + texts_per_request]
                # The limit in characters is far above the 512 tokens that a model reads, so nothing is lost.
                body = {"texts": [texts[place][:longest] for place in places]}
                response = _request(f"{address}/predict/batch", body)
                for place, prediction in zip(places, response["predictions"], strict=True):
                    scores[place] = [prediction["scores"][label] for label in labels]
                bar.update(len(places))
        return np.maximum(scores, _LEAST_SCORE)

    return Target(f"{address} {info['backend']} {info['precision']}", labels, score)


def _request(url: str, body: object = None) -> Any:
    """Send a GET request, or POST with a body. After 429 or 503, wait as long as the server says and retry."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("EVALUATE_API_KEY"):
        headers["X-API-Key"] = key
    request = Request(url, None if body is None else json.dumps(body).encode(), headers)
    deadline_s = time.monotonic() + _GIVE_UP_AFTER_S
    while True:
        try:
            with urlopen(request, timeout=60) as response:  # the user chose this server # nosec B310
                return json.load(response)
        except HTTPError as error:
            with error:
                content = error.read().decode(errors="replace")
            wait_s = _seconds(error.headers.get("Retry-After")) if error.code in (429, 503) else None
            if wait_s is None or time.monotonic() + wait_s > deadline_s:
                raise InputError(f"{url} returned status {error.code}: {_detail(content)}") from None
            time.sleep(wait_s)
        except (URLError, TimeoutError, ConnectionError) as error:
            raise InputError(f"{url} cannot be reached: {error}") from error
        except ValueError as error:
            raise InputError(f"{url} did not return JSON: {error}") from error


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after and retry_after.isdecimal() else 1.0  # proxies may send a date instead


def _detail(content: str) -> str:
    try:
        return str(json.loads(content)["detail"])
    except (ValueError, KeyError, TypeError):
        return content[:200] or "empty response"


def _progress(texts: int, name: str) -> tqdm:
    # `disable=None`: no bar where the output is not a terminal.
    return tqdm(total=texts, desc=name, unit=" texts", disable=None, leave=False)
