"""An encoder and texts that are small enough to train in seconds, and large enough to learn something."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

from app.inference.artifact import open_artifact
from training.checkpoints import convert_encoder
from training.checkpoints.emoji import EMOJI
from training.data import Example

torch.set_num_threads(1)  # more threads are slower with matrices this small

WORDS = {
    "positive": ("great", "lovely", "superb"),
    "negative": ("awful", "dreadful", "poor"),
    "neutral": ("here", "red", "new"),
}
THINGS = ("film", "food", "room", "phone")
ROWS = [
    Example(f"The {thing} is {word}.", label, "set")
    for label, words in WORDS.items()
    for word in words
    for thing in THINGS
]


def tiny_encoder(directory: Path) -> Path:
    """Write an untrained BERT with two layers in the format of the pretrained encoder."""
    torch.manual_seed(1)
    tokenizer = _without_emoji(json.loads((open_artifact("sentiment-en").directory / "tokenizer.json").read_text()))
    config = BertConfig(
        vocab_size=len(tokenizer["model"]["vocab"]),
        hidden_size=64,
        num_attention_heads=4,
        num_hidden_layers=2,
        intermediate_size=128,
        initializer_range=0.15,  # with the usual 0.02, learning takes hundreds of steps
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        model.embeddings.token_type_embeddings.weight.normal_(std=0.1)
    save_file(model.state_dict(), directory / "model.safetensors")
    config.save_pretrained(directory)
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    return directory


def _without_emoji(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """Remove the emoji that `convert` has added at the end of the vocabulary."""
    pieces = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    while pieces[-1] in EMOJI:
        pieces.pop()
    model = tokenizer["model"] | {"vocab": {piece: index for index, piece in enumerate(pieces)}}
    return tokenizer | {"model": model, "pre_tokenizer": tokenizer["pre_tokenizer"]["pretokenizers"][-1]}


def tiny_classifier(directory: Path) -> Path:
    """Write an untrained DistilBERT classifier that is converted from such an encoder."""
    (directory / "encoder").mkdir()
    convert_encoder(tiny_encoder(directory / "encoder"), directory / "classifier", ROWS, vocabulary=4000)
    return directory / "classifier"
