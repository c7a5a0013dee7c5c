"""Compare the tokenizer of an artifact with that of transformers, which the model was trained with."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from app.inference.text import normalise
from app.inference.tokenizer import Tokenizer
from training.errors import InputError

_NO_LIMIT = 10**6
_CHUNK = 1000  # words
_TEXTS = {
    "plain text": ["the staff were friendly, and the food was good.", "it came at 10:30 on 3/4/2024 (for $5.99)."],
    "upper and lower case": ["ABSOLUTELY Great", "McDonald iPhone STRASSE Straße İstanbul ΟΔΟΣ"],
    "accents": ["café naïve Ünïcödé señor", "cafe\u0301 A\u030a \u1e9b\u0323", "Ång\u0142 \u0149 crème brûlée"],
    "emoji": ["\u2764 good \U0001f600\U0001f600", "\U0001f469\u200d\U0001f4bb at five \U0001fa77 \U0001f1eb\U0001f1f7"],
    "Chinese, Japanese and Korean": ["很好吃 good", "とても良い ガ", "정말 좋아요"],
    "punctuation": ["Don't!!! (well...) - \u201cno\u201d \u2014 a_b #tag 50% & <b>", "can\u2019t \u00a1no! \u00bfy?"],
    "other scripts": ["Очень хорошо", "جيد جدا", "बहुत अच्छा", "ดีมาก"],
}


def compare_tokens(model: str, directory: Path, max_tokens: int) -> None:
    """Raise `InputError` unless the tokenizer in `directory` has the same token ids as transformers' for `model`.

    The message names the first kind of text that differs. Texts are normalised, as all are that the service tokenises.
    """
    reference = AutoTokenizer.from_pretrained(model)
    for kind, texts in (_TEXTS | _texts_of(reference)).items():
        _compare(kind, texts, reference, directory, _NO_LIMIT)
    _compare("a text that is too long", [f"{'good film, ' * max_tokens}end"], reference, directory, max_tokens)


def _texts_of(reference: PreTrainedTokenizerBase) -> dict[str, list[str]]:
    """Return texts of the tokenizer's own words, because a difference does not show in words that it does not know."""
    added, words = reference.get_added_vocab(), sorted(reference.get_vocab())
    chunks = [" ".join(words[start : start + _CHUNK]) for start in range(0, len(words), _CHUNK)]
    return {
        "added tokens": [f"so {token} good{token}, {token.lower()} {token.upper()}" for token in sorted(added)],
        "words of its vocabulary": chunks,
        "words of its vocabulary in capitals": [chunk.upper() for chunk in chunks],
    }


def _compare(kind: str, texts: list[str], reference: PreTrainedTokenizerBase, directory: Path, max_tokens: int) -> None:
    tokenizer = Tokenizer.load(directory, max_tokens)
    for text in map(normalise, texts):
        theirs = reference(text, truncation=True, max_length=max_tokens)["input_ids"]
        ours = list(tokenizer.encode(text).ids)
        if ours != theirs:
            place = next((at for at, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), 0)
            shown = slice(max(0, place - 2), place + 6)
            raise InputError(
                f"{directory}: its tokenizer differs from that of transformers for {kind}: {text[:40]!r} has the token "
                f"ids … {theirs[shown]} … there, and … {ours[shown]} … in the service"
            )
