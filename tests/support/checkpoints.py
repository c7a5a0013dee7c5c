"""Random classifiers of any architecture, in the format of transformers, with a tokenizer of a few words."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ("a", "good", "bad", "film", "the", "is", "was", "not", ".", "!")
# The first ids of BERT's vocabulary, and of that of fairseq, whose models have the padding id 1.
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def checkpoint(directory: Path, model_type: str, *, tokens: int = 0, shard_size: str = "5GB", **options: Any) -> Path:
    """Write a classifier with `options` in its config. `tokens` is the limit in its tokenizer's files; 0: none."""
    from transformers import AutoConfig, AutoModelForSequenceClassification  # slow, and only some processes need it

    torch.manual_seed(0)
    special = BERT if options.get("pad_token_id") == 0 else FAIRSEQ
    size = {
        "vocab_size": len(special) + len(WORDS), "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2,
        "intermediate_size": 32, "initializer_range": 0.3,
    }  # fmt: skip
    config = AutoConfig.for_model(model_type, **(size | options))
    model = AutoModelForSequenceClassification.from_config(config)
    model.save_pretrained(directory, max_shard_size=shard_size)
    save_tokenizer(directory, special, tokens)
    return directory


def save_tokenizer(directory: Path, special: tuple[str, ...], tokens: int = 0) -> None:
    from transformers import PreTrainedTokenizerFast

    pieces = {piece: index for index, piece in enumerate((*special, *WORDS))}
    pad, unknown, first, last = BERT[:4] if special == BERT else ("<pad>", "<unk>", "<s>", "</s>")
    tokenizer = Tokenizer(models.WordLevel(pieces, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, pieces[first]), (last, pieces[last])]
    )
    limit = {"model_max_length": tokens} if tokens else {}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unknown, pad_token=pad, **limit).save_pretrained(
        directory
    )


def edit(file: Path, **changes: Any) -> None:
    """Change keys of a JSON file; `...` removes one."""
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))
