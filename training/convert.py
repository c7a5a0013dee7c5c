"""From a BERT encoder to a DistilBERT classifier with the same hidden states and a smaller vocabulary.

BERT without token types and pooler is DistilBERT: `token_type_embeddings[0]`, which BERT adds everywhere, is folded
into the position embeddings, and every other weight keeps its value under another name.
"""

import json
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer as FastTokenizer
from transformers import DistilBertConfig, DistilBertForSequenceClassification, PreTrainedTokenizerFast

from training.examples import LABELS, Example

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


def convert(encoder: Path, out: Path, examples: list[Example], vocabulary: int) -> None:
    """Write to `out` a DistilBERT classifier with the weights of the BERT at `encoder` and an untrained head.

    Of the word pieces, the `vocabulary` that occur most often in `examples` stay, and all single characters, so that
    every word that could be spelled still can.
    """
    tokenizer = FastTokenizer.from_file(str(encoder / "tokenizer.json"))
    kept = _trim(tokenizer, examples, vocabulary)
    config = _config(json.loads((encoder / "config.json").read_text()), len(kept))
    model = DistilBertForSequenceClassification(config)
    weights = _weights(load_file(encoder / "model.safetensors"), config.n_layers, kept)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or any(not name.startswith(("pre_classifier", "classifier")) for name in missing):
        raise ValueError(f"{encoder}: not a BERT encoder; missing {missing}, unexpected {unexpected}")
    model.save_pretrained(out)
    _save_tokenizer(tokenizer, kept, config, out)


def _config(bert: dict[str, int], vocab_size: int) -> DistilBertConfig:
    return DistilBertConfig(
        vocab_size=vocab_size,
        dim=bert["hidden_size"],
        n_heads=bert["num_attention_heads"],
        n_layers=bert["num_hidden_layers"],
        hidden_dim=bert["intermediate_size"],
        max_position_embeddings=bert["max_position_embeddings"],
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )


def _weights(bert: dict[str, torch.Tensor], layers: int, kept: list[int]) -> dict[str, torch.Tensor]:
    positions = bert["embeddings.position_embeddings.weight"] + bert["embeddings.token_type_embeddings.weight"][0]
    weights = {
        "distilbert.embeddings.word_embeddings.weight": bert["embeddings.word_embeddings.weight"][kept],
        "distilbert.embeddings.position_embeddings.weight": positions,
    }
    for kind in ("weight", "bias"):
        weights[f"distilbert.embeddings.LayerNorm.{kind}"] = bert[f"embeddings.LayerNorm.{kind}"]
        for layer in range(layers):
            for theirs, ours in _NAMES.items():
                name = f"distilbert.transformer.layer.{layer}.{ours}.{kind}"
                weights[name] = bert[f"encoder.layer.{layer}.{theirs}.{kind}"]
    return weights


def _trim(tokenizer: FastTokenizer, examples: list[Example], vocabulary: int) -> list[int]:
    """Return the token ids to keep, in their old order."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    counts: Counter[int] = Counter()
    for encoding in tokenizer.encode_batch_fast([example.text for example in examples], add_special_tokens=False):
        counts.update(encoding.ids)
    special = set(tokenizer.get_added_tokens_decoder())
    single = {index for piece, index in tokenizer.get_vocab().items() if len(piece.removeprefix("##")) == 1}
    frequent = [index for index, _ in counts.most_common() if index not in special | single]
    if vocabulary < len(special | single):
        raise ValueError(f"{vocabulary} word pieces are too few: the single characters alone are {len(single)}")
    return sorted(special | single | set(frequent[: vocabulary - len(special | single)]))


def _save_tokenizer(tokenizer: FastTokenizer, kept: list[int], config: DistilBertConfig, out: Path) -> None:
    """Write the tokenizer with the kept word pieces alone, numbered anew."""
    document = json.loads(tokenizer.to_str())
    names = {index: piece for piece, index in tokenizer.get_vocab().items()}
    vocab = {names[old]: new for new, old in enumerate(kept)}
    document["model"]["vocab"] = vocab
    for added in document["added_tokens"]:
        added["id"] = vocab[added["content"]]
    for special in document["post_processor"]["special_tokens"].values():
        special["ids"] = [vocab[token] for token in special["tokens"]]
    fast = PreTrainedTokenizerFast(
        tokenizer_object=FastTokenizer.from_str(json.dumps(document)),
        model_max_length=config.max_position_embeddings,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")},
    )
    fast.save_pretrained(out)
