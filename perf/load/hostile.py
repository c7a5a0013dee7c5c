"""Texts that take as much work as possible for their length."""

import random
from collections.abc import Callable

# Each is repeated up to a length.
_REPEATED = {
    "ordinary": "The film was good, but not great. ",
    "marks out of order": "\u0344\u0316",
    "marks, thirty at a time": "a" + "\u0301" * 15 + "\u0316" * 15,
    "marks that begin as a letter": "\uff9e\u0316\u0f73",
    "marks among invisible characters": "\u0301\u200d\u0316\u034f",
    "one character becomes eighteen": "\ufdfa",
    "one character becomes six": "\u3316",
    "jamo": "\u1112\u1161\u11ab",
    "syllables in words of 99 jamo": "\uac01" * 33 + " ",
    "CJK": "\u4e2d\u6587",
    "emoji": "\U0001f600",
    "emoji of several": "\U0001f468\u200d\U0001f469",
    "flags": "\U0001f1e9\U0001f1ea",
    "without a character": "\U000e1000",
    "surrogates": "\ud800",
    "words of 100 letters": "qxzjv" * 20 + " ",
    "words of 100 IPA letters": "\u0290" * 100 + " ",
    "words with an unknown end": "\u09c7" * 99 + "\u0378 ",
    "special tokens": "[MASK]",
    "punctuation": "!?.",
    "tags": "<b>",
    "empty tags": "<>",
    "attributes": "<a a=b c= ",
    "references": "&#836;",
    "references that become eighteen": "&#xfdfa;",
    "references that are none": "&a;",
    "mentions": "@a ",
    "links": "http://\u0301 ",
    "backticks": "a`",
}
_NESTED: dict[str, Callable[[int], str]] = {
    "all marks, then one of the lowest class": lambda chars: (
        "a" + "\u0344" * (chars // 2) + "\u0316" * (chars // 2 - 1)
    ),
    "one word": lambda chars: "a" * chars,
    "nested tags": lambda chars: "<b " * (chars // 4) + ">" * (chars // 4),
    "a tag without an end": lambda chars: "<a " + "a=" * ((chars - 3) // 2),
    "nested references": lambda chars: "&" + "amp;" * ((chars - 1) // 4),
    "tags after a long text": lambda chars: "\U0001f600" * (chars // 2) + "<b>" * (chars // 6),
    "any characters": lambda chars: "".join(map(chr, random.Random(4).choices(range(0xE000, 0x110000), k=chars))),
}


def hostile_texts(chars: int) -> dict[str, str]:
    """Return texts of at most `chars` characters, the first one an ordinary one, by what they consist of."""
    repeated = {name: (part * (chars // len(part) + 1))[:chars] for name, part in _REPEATED.items()}
    return repeated | {name: make(chars) for name, make in _NESTED.items()}
