"""BERT's tokenizer from `vocab.txt`, which older checkpoints have instead of `tokenizer.json`.

The same as transformers' `BertTokenizerFast`, from the same files, without transformers.
"""

import io
from collections.abc import Iterator, Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from ..errors import ArtifactError
from .files import ModelFiles

_ADDED, _SPECIAL = "added_tokens.json", "special_tokens_map.json"
# Tokenizers of transformers that differ from BERT's in name only, and the model types that have one of them by default.
_CLASSES = frozenset(
    f"{name}Tokenizer" for name in "Bert ConvBert DistilBert Electra LayoutLM Lxmert MobileBert SqueezeBert".split()
)
_TYPES = frozenset(
    "bert convbert distilbert electra ernie layoutlm lxmert megatron-bert mobilebert nezha qdqbert squeezebert "
    "visual_bert".split()
)
_NAMES = {
    "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]",
}  # fmt: skip
_MORE = "additional_special_tokens"
# Options of `tokenizer_config.json` and the attributes of the normalizer that they set.
_OPTIONS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


def apply_options(normalizer: BertNormalizer, config: Mapping[str, Any]) -> BertNormalizer:
    """Set what `tokenizer_config.json` states, which has precedence over `tokenizer.json` in transformers, too."""
    for option, attribute in _OPTIONS.items():
        if option in config:
            setattr(normalizer, attribute, config[option])
    return normalizer


def read_wordpiece(files: ModelFiles, config: Mapping[str, Any]) -> Tokenizer:
    """Build the tokenizer of a model directory from `vocab.txt` and the files beside it.

    Raises `ArtifactError` if they describe one that has no fast form.
    """
    reason = _other_class(files, config)
    if config.get("never_split") or not config.get("do_basic_tokenize", True):
        reason = "only its slow tokenizers have never_split and do_basic_tokenize (see tokenizer_config.json)"
    if reason:
        raise ArtifactError(f"{files.directory}: vocab.txt cannot be read without transformers, because {reason}")
    if "added_tokens_decoder" not in config:  # written before transformers 4.34
        config = {**config, **files.optional_json(_SPECIAL)}
    names = {key: _content(config.get(key) or default) for key, default in _NAMES.items()}
    pieces = _pieces(files)
    if missing := [names[key] for key in ("unk_token", "sep_token", "cls_token") if names[key] not in pieces]:
        raise ArtifactError(f"{files.directory}: vocab.txt has no {', '.join(missing)}")
    tokenizer = Tokenizer(WordPiece(pieces, unk_token=names["unk_token"]))
    tokenizer.normalizer = apply_options(BertNormalizer(), config)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    first, last = names["cls_token"], names["sep_token"]
    tokenizer.post_processor = TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, pieces[first]), (last, pieces[last])]
    )
    special = {*names.values(), *map(_content, config.get(_MORE) or ())}
    for index, token in _added(files, config, special):
        tokenizer.add_tokens([token])
        if tokenizer.token_to_id(token.content) != index:
            raise ArtifactError(
                f"{files.directory}: the added token {token.content} has the id {index}, which leaves a gap after "
                "vocab.txt"
            )
    rest = [name for name in names.values() if name in pieces] + [_token(each) for each in config.get(_MORE) or ()]
    tokenizer.add_special_tokens(rest)  # those that are there already stay as they are
    return tokenizer


def is_bert(files: ModelFiles, config: Mapping[str, Any]) -> bool:
    """Return whether transformers would read the tokenizer of a model directory with BERT's class."""
    return _other_class(files, config) is None


def _other_class(files: ModelFiles, config: Mapping[str, Any]) -> str | None:
    model = files.optional_json("config.json")
    if name := config.get("tokenizer_class") or model.get("tokenizer_class"):
        return None if name.removesuffix("Fast") in _CLASSES else f"its tokenizer_class is {name}"
    kind = model.get("model_type", "bert")
    return None if kind in _TYPES else f"the tokenizer of the model type {kind} is not BERT's"


def _pieces(files: ModelFiles) -> dict[str, int]:
    # Not `splitlines`: a piece may be one of the characters that it splits at.
    lines = io.TextIOWrapper(io.BytesIO(files.read("vocab.txt")), encoding="utf-8")
    return {line.rstrip("\n"): index for index, line in enumerate(lines)}


def _added(files: ModelFiles, config: Mapping[str, Any], special: set[str]) -> Iterator[tuple[int, AddedToken]]:
    """Yield added tokens and their ids, in the order of these."""
    if (stated := config.get("added_tokens_decoder")) is not None:
        for index in sorted(stated, key=int):
            yield int(index), _token(stated[index])
        return
    added = files.optional_json(_ADDED)
    for name in sorted(added, key=added.__getitem__):
        yield added[name], AddedToken(name, special=name in special, normalized=name not in special)


def _token(stated: str | Mapping[str, Any]) -> AddedToken:
    if isinstance(stated, str):
        return AddedToken(stated, special=True)
    return AddedToken(**{key: value for key, value in stated.items() if key != "__type"})


def _content(stated: str | Mapping[str, Any]) -> str:
    return stated if isinstance(stated, str) else str(stated["content"])
