"""What a training starts from, by name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.inference.artifact import Artifact, open_artifact
from app.inference.tokenizer import Tokenizer
from training.checkpoints import fetch_encoder, find_checkpoint
from training.data import Example
from training.fit.choice import EMBEDDED, ENCODER, Choice, choose, facts_of


def choose_for(
    examples: Sequence[Example], preset: str = "auto", start: str | None = None, given: Mapping[str, Any] | None = None
) -> Choice:
    """Choose from the data how to train, except for the `start` and the settings that are given."""
    base = artifact_of(start)
    facts = facts_of(examples, Tokenizer.load(base.directory, 10**6))
    return choose(facts, preset, start, base_labels=base.labels, **dict(given or {}))


def artifact_of(start: str | None) -> Artifact:
    """Return the model to start from, or the embedded one for the plain encoder, which has nearly its word pieces."""
    name = EMBEDDED if start is None or (start == ENCODER and not Path(start).is_dir()) else start
    return open_artifact(str(find_checkpoint(name)))


def start_directory(start: str) -> Path:
    """Return the directory of `sentiment-en`, `encoder` (fetched if need be), a path, or a model of the hub."""
    if start == ENCODER and not Path(start).is_dir():
        return fetch_encoder()
    return find_checkpoint(start)
