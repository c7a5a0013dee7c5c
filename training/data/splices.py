"""`python -m training splices`: new sentences of a set, in which a phrase has been exchanged for another of the set's.

For sets such as SST-2, whose texts are sentences and phrases of them: what comes out is in their words, mixes praise
and blame as no template does, and has no label; a teacher gives it one (`python -m training label`). The idea of
augmentation by replacement, with a teacher for the labels, is TinyBERT's (Jiao et al. 2020).
"""

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from training.data.examples import read_all
from training.errors import InputError
from training.files import making

_HOST_WORDS = 10  # from here on a text is taken for a sentence
_PHRASE_WORDS = range(2, 9)
_LARGEST_SHARE = 0.6  # of the sentence that the phrase may be
_TRIES = 20

Words = tuple[str, ...]


def make_splices(texts: Sequence[str], rows: int, seed: int = 7) -> list[str]:
    """Return `rows` different texts that are not among `texts`, each a sentence of them with another phrase in it.

    A phrase is exchanged for one that begins with the same word, which keeps most of them grammatical. Raises
    `InputError` when there are not as many.
    """
    rng = random.Random(seed)
    every = [tuple(text.split()) for text in dict.fromkeys(texts)]
    phrases: dict[str, list[Words]] = defaultdict(list)
    for words in every:
        if len(words) in _PHRASE_WORDS:
            phrases[words[0]].append(words)
    known = {words for group in phrases.values() for words in group}
    hosts = [(words, spans) for words in every if len(words) >= _HOST_WORDS and (spans := _spans(words, known))]

    seen, found, failures = set(every), [], 0
    while len(found) < rows:
        words = _spliced(*rng.choice(hosts), phrases, rng) if hosts else None
        if words is None or words in seen:
            failures += 1
            if failures > _TRIES * (len(found) + 100):
                raise InputError(f"these texts make no more than {len(found)} others")
            continue
        seen.add(words)
        found.append(" ".join(words))
    return found


def _spans(words: Words, known: set[Words]) -> list[slice]:
    """Where phrases stand in a sentence."""
    longest = int(_LARGEST_SHARE * len(words))
    return [
        slice(start, start + length)
        for start in range(len(words))
        for length in _PHRASE_WORDS
        if length <= min(longest, len(words) - start) and words[start : start + length] in known
    ]


def _spliced(host: Words, spans: list[slice], phrases: dict[str, list[Words]], rng: random.Random) -> Words | None:
    span = rng.choice(spans)
    old = host[span]
    new = rng.choice(phrases[old[0]])
    if new == old or abs(len(new) - len(old)) > 2:
        return None
    return (*host[: span.start], *new, *host[span.stop :])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `python -m training splices`."""
    parser.add_argument("--data", nargs="+", required=True, metavar="SOURCE", help="sentences and phrases of them")
    parser.add_argument("--rows", type=int, default=60_000, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="(%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="a new .jsonl file, of texts without labels")


def main(args: argparse.Namespace) -> None:
    """Write them."""
    with making(args.out) as part:
        examples = read_all(args.data)
        source = f"{examples[0].source}_splices"
        texts = make_splices([example.text for example in examples], args.rows, args.seed)
        rows = ({"text": text, "label": None, "source": source} for text in texts)
        part.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
