"""What a training starts from, by name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.inference.artifact import open_artifact
from app.inference.tokenizer import Tokenizer
from training.checkpoints import fetch_encoder, find_checkpoint
from training.data import Example
from training.fit.choice import EMBEDDED, ENCODER, Choice, choose, facts_of


def choose_for(
    examples: Sequence[Example], preset: str = "auto", start: str | None = None, given: Mapping[str, Any] | None = None
) -> Choice:
    """Choose from the data how to train, except for the `start` and the settings that are given."""
    # What a training can start from here has nearly the same word pieces.
    known = start and start not in (EMBEDDED, ENCODER)
    directory = find_checkpoint(start) if known and start else open_artifact(EMBEDDED).directory
    tokenizer = Tokenizer.load(directory, 10**6)
    return choose(facts_of(examples, tokenizer), preset, start, **dict(given or {}))


def start_directory(start: str) -> Path:
    """Return the directory of `sentiment-en`, `encoder` (fetched if need be), a path, or a model of the hub."""
    if start == ENCODER and not Path(start).is_dir():
        return fetch_encoder()
    return find_checkpoint(start)
