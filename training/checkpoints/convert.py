"""`python -m training convert`: from a pretrained encoder to a classifier with an untrained head and with emoji.

A BERT becomes a DistilBERT, which is a BERT without token types and pooler. BERT adds `token_type_embeddings[0]` to
every token, so it is added to the position embeddings. Every other weight keeps its value under a new name.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import WordPiece
from transformers import DistilBertConfig, DistilBertForSequenceClassification
from transformers.activations import ACT2FN

from training.checkpoints.device import read_classifier
from training.checkpoints.emoji import add_emoji, embeddings_of
from training.data import LABELS, Example, read_all
from training.errors import InputError
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
# Checkpoints with a head prefix the names of the encoder. The oldest BERT checkpoints use TensorFlow's names.
_OTHER_NAMES = {"bert.": "", "LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
_LABELS: dict[str, Any] = {
    "id2label": dict(enumerate(LABELS)),
    "label2id": {label: index for index, label in enumerate(LABELS)},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("encoder", type=Path, help="directory with config.json, model.safetensors, tokenizer.json")
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="text from which to choose the word pieces, with --vocabulary (formats: docs/training.md)",
    )
    parser.add_argument("--vocabulary", type=int, default=0, help="number of word pieces to keep (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the untrained head (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="directory for the classifier")


def main(args: argparse.Namespace) -> None:
    convert_encoder(args.encoder, args.out, read_all(args.data), args.vocabulary, args.seed)


def convert_encoder(encoder: Path, out: Path, examples: Sequence[Example], vocabulary: int = 0, seed: int = 0) -> None:
    """Write a classifier with the weights of `encoder` to `out`. A BERT becomes a DistilBERT.

    With `vocabulary`, only that many word pieces are kept: all single characters, so that every word can still be
    spelled, and the pieces that occur most often in `examples`. Emoji are added to these. Raises `InputError` if the
    encoder cannot be read or converted, if its tokens are not word pieces, or if `examples` are needed but missing.
    """
    if vocabulary and not examples:
        raise InputError("--vocabulary needs --data: text from which to choose the word pieces")
    tokenizer = _read_tokenizer(encoder / "tokenizer.json")
    if not isinstance(tokenizer.model, WordPiece):
        raise InputError(f"{encoder}: expected a WordPiece tokenizer, not {type(tokenizer.model).__name__}")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    kept = _trim(tokenizer, examples, vocabulary) if vocabulary else list(range(tokenizer.get_vocab_size()))
    document = _keep(tokenizer, kept)
    emoji = add_emoji(document)

    config = read_json(encoder / "config.json")
    torch.manual_seed(seed)  # the weights of the head are random
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


def _distilbert(encoder: Path, config: dict[str, Any]) -> DistilBertForSequenceClassification:
    for setting, supported in (("hidden_act", ACT2FN), ("position_embedding_type", ("absolute",))):
        if setting in config and config[setting] not in supported:
            raise InputError(f"{encoder}: DistilBERT does not support {setting} {config[setting]}")
    try:
        model = DistilBertForSequenceClassification(
            DistilBertConfig(
                vocab_size=config["vocab_size"],
                dim=config["hidden_size"],
                n_heads=config["num_attention_heads"],
                n_layers=config["num_hidden_layers"],
                hidden_dim=config["intermediate_size"],
                max_position_embeddings=config["max_position_embeddings"],
                activation=config.get("hidden_act", "gelu"),
                dropout=config.get("hidden_dropout_prob", 0.1),
                attention_dropout=config.get("attention_probs_dropout_prob", 0.1),
                **_LABELS,
            )
        )
        model.distilbert.load_state_dict(_weights(encoder / "model.safetensors", config["num_hidden_layers"]))
    except KeyError as error:
        raise InputError(f"{encoder}: not a complete BERT encoder: {error.args[0]} is missing") from error
    except (ValueError, RuntimeError, SafetensorError) as error:  # sizes that do not match, or a broken file
        raise InputError(f"{encoder}: not a complete BERT encoder: {error}") from error
    return model


def _weights(file: Path, layers: int) -> dict[str, torch.Tensor]:
    """Return the weights of a BERT under the names of DistilBERT."""
    bert = load_file(file)
    for old, new in _OTHER_NAMES.items():
        bert = {name.replace(old, new): weight for name, weight in bert.items()}
    positions = bert["embeddings.position_embeddings.weight"] + bert["embeddings.token_type_embeddings.weight"][0]
    weights = {
        "embeddings.word_embeddings.weight": bert["embeddings.word_embeddings.weight"],
        "embeddings.position_embeddings.weight": positions,
    }
    for kind in ("weight", "bias"):
        weights[f"embeddings.LayerNorm.{kind}"] = bert[f"embeddings.LayerNorm.{kind}"]
        for layer in range(layers):
            for bert_name, name in _NAMES.items():
                weights[f"transformer.layer.{layer}.{name}.{kind}"] = bert[f"encoder.layer.{layer}.{bert_name}.{kind}"]
    return weights


def _trim(tokenizer: FastTokenizer, examples: Sequence[Example], vocabulary: int) -> list[int]:
    """Return the ids of the tokens to keep, in their old order."""
    counts: Counter[int] = Counter()
    for encoding in tokenizer.encode_batch_fast([example.text for example in examples], add_special_tokens=False):
        counts.update(encoding.ids)
    special = set(tokenizer.get_added_tokens_decoder())
    single = {index for piece, index in tokenizer.get_vocab().items() if len(piece.removeprefix("##")) == 1}
    frequent = [index for index, _ in counts.most_common() if index not in special | single]
    if vocabulary < len(special | single):
        raise InputError(f"{vocabulary} word pieces are too few: there are {len(single)} single characters")
    return sorted(special | single | set(frequent[: vocabulary - len(special | single)]))


def _keep(tokenizer: FastTokenizer, kept: list[int]) -> dict[str, Any]:
    """Return the tokenizer.json of `tokenizer` with only the kept word pieces, which get new ids."""
    document: dict[str, Any] = json.loads(tokenizer.to_str())
    names = {index: piece for piece, index in tokenizer.get_vocab().items()}
    numbers = {names[old]: new for new, old in enumerate(kept)}
    document["model"]["vocab"] = numbers
    for added in document["added_tokens"]:
        added["id"] = numbers[added["content"]]
    # A template processor has `special_tokens`. Those of BERT and RoBERTa have pairs of token and id instead.
    special = document["post_processor"].get("special_tokens", {})
    for each in special.values():
        each["ids"] = [numbers[token] for token in each["tokens"]]
    for end in ("sep", "cls"):
        if isinstance(document["post_processor"].get(end), list):
            token = document["post_processor"][end][0]
            document["post_processor"][end] = [token, numbers[token]]
    return document


def _save_tokenizer(document: dict[str, Any], encoder: Path, config: Any, out: Path) -> None:
    """Write the tokenizer next to the model, with the special tokens that the encoder's config names."""
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
