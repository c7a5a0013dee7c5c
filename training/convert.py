"""`python -m training convert`: from a pretrained encoder to a classifier with an untrained head, that knows emoji.

BERT becomes DistilBERT: BERT without token types and pooler is DistilBERT. `token_type_embeddings[0]`, which BERT adds
everywhere, is folded into the position embeddings, and every other weight keeps its value under another name.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import WordPiece
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from training.device import read_classifier
from training.emoji import add_emoji, embeddings_of
from training.errors import InputError
from training.examples import LABELS, Example, read_all
from training.files import read_json

_NAMES = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
_LABELS: dict[str, Any] = {
    "id2label": dict(enumerate(LABELS)),
    "label2id": {label: index for index, label in enumerate(LABELS)},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `python -m training convert`."""
    parser.add_argument("encoder", type=Path, help="directory with config.json, model.safetensors, tokenizer.json")
    parser.add_argument(
        "--data", nargs="+", default=[], metavar="SOURCE", help="text that decides which word pieces stay"
    )
    parser.add_argument("--vocabulary", type=int, default=0, help="word pieces to keep (all)")
    parser.add_argument("--out", type=Path, required=True, help="directory of the classifier")


def main(args: argparse.Namespace) -> None:
    """Convert as the command line says."""
    convert(args.encoder, args.out, read_all(args.data), args.vocabulary)


def convert(encoder: Path, out: Path, examples: Sequence[Example], vocabulary: int = 0) -> None:
    """Write to `out` a classifier with the weights of `encoder`; a BERT becomes a DistilBERT.

    With `vocabulary`, only so many word pieces stay, those that occur most often in `examples`, and all single
    characters, so that every word that could be spelled still can. Emoji come on top.
    Raises `InputError` when the encoder's tokens are no word pieces, or there is no text to choose them by.
    """
    if vocabulary and not examples:
        raise InputError("which word pieces to keep is decided by text: --data")
    tokenizer = _read_tokenizer(encoder / "tokenizer.json")
    if not isinstance(tokenizer.model, WordPiece):
        raise InputError(f"{encoder}: expected a tokenizer of word pieces, not {type(tokenizer.model).__name__}")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    kept = _trim(tokenizer, examples, vocabulary) if vocabulary else list(range(tokenizer.get_vocab_size()))
    document = _keep(tokenizer, kept)
    emoji = add_emoji(document)

    config = read_json(encoder / "config.json")
    model = _distilbert(encoder, config) if config.get("model_type") == "bert" else read_classifier(encoder, **_LABELS)
    words = model.get_input_embeddings().weight.data
    model.resize_token_embeddings(len(kept) + len(emoji), mean_resizing=False)
    model.get_input_embeddings().weight.data = torch.cat([words[kept], embeddings_of(emoji, tokenizer, words)])
    model.save_pretrained(out)
    _save_tokenizer(document, encoder, model.config, out)


def _read_tokenizer(file: Path) -> FastTokenizer:
    try:
        return FastTokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exception
        raise InputError(f"{file} cannot be read: {error}") from error


def _distilbert(encoder: Path, config: dict[str, int]) -> DistilBertForSequenceClassification:
    model = DistilBertForSequenceClassification(
        DistilBertConfig(
            vocab_size=config["vocab_size"],
            dim=config["hidden_size"],
            n_heads=config["num_attention_heads"],
            n_layers=config["num_hidden_layers"],
            hidden_dim=config["intermediate_size"],
            max_position_embeddings=config["max_position_embeddings"],
            **_LABELS,
        )
    )
    weights = _weights(load_file(encoder / "model.safetensors"), config["num_hidden_layers"])
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or any(not name.startswith(("pre_classifier", "classifier")) for name in missing):
        raise InputError(f"{encoder}: not a BERT encoder; missing {missing}, unexpected {unexpected}")
    return model


def _weights(bert: dict[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    positions = bert["embeddings.position_embeddings.weight"] + bert["embeddings.token_type_embeddings.weight"][0]
    weights = {
        "distilbert.embeddings.word_embeddings.weight": bert["embeddings.word_embeddings.weight"],
        "distilbert.embeddings.position_embeddings.weight": positions,
    }
    for kind in ("weight", "bias"):
        weights[f"distilbert.embeddings.LayerNorm.{kind}"] = bert[f"embeddings.LayerNorm.{kind}"]
        for layer in range(layers):
            for theirs, ours in _NAMES.items():
                name = f"distilbert.transformer.layer.{layer}.{ours}.{kind}"
                weights[name] = bert[f"encoder.layer.{layer}.{theirs}.{kind}"]
    return weights


def _trim(tokenizer: FastTokenizer, examples: Sequence[Example], vocabulary: int) -> list[int]:
    """Return the token ids to keep, in their old order."""
    counts: Counter[int] = Counter()
    for encoding in tokenizer.encode_batch_fast([example.text for example in examples], add_special_tokens=False):
        counts.update(encoding.ids)
    special = set(tokenizer.get_added_tokens_decoder())
    single = {index for piece, index in tokenizer.get_vocab().items() if len(piece.removeprefix("##")) == 1}
    frequent = [index for index, _ in counts.most_common() if index not in special | single]
    if vocabulary < len(special | single):
        raise InputError(f"{vocabulary} word pieces are too few: the single characters alone are {len(single)}")
    return sorted(special | single | set(frequent[: vocabulary - len(special | single)]))


def _keep(tokenizer: FastTokenizer, kept: list[int]) -> dict[str, Any]:
    """The tokenizer.json of `tokenizer` with the kept word pieces alone, numbered anew."""
    document: dict[str, Any] = json.loads(tokenizer.to_str())
    names = {index: piece for piece, index in tokenizer.get_vocab().items()}
    numbers = {names[old]: new for new, old in enumerate(kept)}
    document["model"]["vocab"] = numbers
    for added in document["added_tokens"]:
        added["id"] = numbers[added["content"]]
    special = document["post_processor"].get("special_tokens", {})  # a template's; BERT's and RoBERTa's name a pair
    for each in special.values():
        each["ids"] = [numbers[token] for token in each["tokens"]]
    for end in ("sep", "cls"):
        if isinstance(document["post_processor"].get(end), list):
            token = document["post_processor"][end][0]
            document["post_processor"][end] = [token, numbers[token]]
    return document


def _save_tokenizer(document: dict[str, Any], encoder: Path, config: Any, out: Path) -> None:
    """Write the tokenizer beside the model; the names of its special tokens are those that the encoder states."""
    (out / "tokenizer.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    file = encoder / "tokenizer_config.json"
    stated = read_json(file) if file.is_file() else {}
    ours = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": min(512, config.max_position_embeddings),
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }
    for kind in ("unk", "sep", "pad", "cls", "mask", "bos", "eos"):
        token = stated.get(f"{kind}_token", f"[{kind.upper()}]")
        token = token["content"] if isinstance(token, dict) else token
        if token in document["model"]["vocab"]:
            ours[f"{kind}_token"] = token
    (out / "tokenizer_config.json").write_text(json.dumps(ours, indent=2) + "\n")
