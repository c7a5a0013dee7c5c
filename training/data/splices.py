"""`python -m training splices`: new sentences, made by exchanging phrases between the texts of a set.

This suits sets such as SST-2, whose texts are sentences and phrases of them. The new sentences use the vocabulary of
the set and mix praise with criticism in ways that no template does. They have no label: a teacher scores them
(`python -m training label`). Augmentation by replacement, with a teacher for the labels, comes from TinyBERT
(Jiao et al. 2020).
"""

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from training.data.examples import read_all
from training.errors import InputError
from training.files import atomic_output

_SENTENCE_WORDS = 10  # a text with at least this many words counts as a sentence
_PHRASE_WORDS = range(2, 9)
_LARGEST_SHARE = 0.6  # of the words of a sentence, for the phrase that is replaced
_TRIES = 20

Words = tuple[str, ...]


def make_splices(texts: Sequence[str], rows: int, seed: int = 7) -> list[str]:
    """Return `rows` different new texts: sentences of `texts` in which one phrase is replaced by another.

    The new phrase begins with the same word as the old one, which keeps most sentences grammatical. Raises `InputError`
    if `texts` do not allow so many.
    """
    rng = random.Random(seed)
    originals = [tuple(text.split()) for text in dict.fromkeys(texts)]
    phrases: dict[str, list[Words]] = defaultdict(list)
    for words in originals:
        if len(words) in _PHRASE_WORDS:
            phrases[words[0]].append(words)
    every_phrase = {words for group in phrases.values() for words in group}
    sentences = [
        (words, spans)
        for words in originals
        if len(words) >= _SENTENCE_WORDS and (spans := _phrase_spans(words, every_phrase))
    ]

    seen, splices, failures = set(originals), [], 0
    while len(splices) < rows:
        words = _splice(*rng.choice(sentences), phrases, rng) if sentences else None
        if words is None or words in seen:
            failures += 1
            if failures > _TRIES * (len(splices) + 100):
                raise InputError(f"these texts allow no more than {len(splices)} new sentences; lower --rows")
            continue
        seen.add(words)
        splices.append(" ".join(words))
    return splices


def _phrase_spans(words: Words, phrases: set[Words]) -> list[slice]:
    """Return the positions of known phrases in a sentence."""
    longest = int(_LARGEST_SHARE * len(words))
    return [
        slice(start, start + length)
        for start in range(len(words))
        for length in _PHRASE_WORDS
        if length <= min(longest, len(words) - start) and words[start : start + length] in phrases
    ]


def _splice(sentence: Words, spans: list[slice], phrases: dict[str, list[Words]], rng: random.Random) -> Words | None:
    span = rng.choice(spans)
    old = sentence[span]
    new = rng.choice(phrases[old[0]])
    if new == old or abs(len(new) - len(old)) > 2:
        return None
    return (*sentence[: span.start], *new, *sentence[span.stop :])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="SOURCE", help="sentences and phrases (formats: docs/training.md)"
    )
    parser.add_argument("--rows", type=int, default=60_000, help="number of sentences (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="seed of the random choices (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="new .jsonl file for the texts, which have no labels")


def main(args: argparse.Namespace) -> None:
    with atomic_output(args.out) as part:
        examples = read_all(args.data)
        source = f"{examples[0].source}_splices"
        texts = make_splices([example.text for example in examples], args.rows, args.seed)
        rows = ({"text": text, "label": None, "source": source} for text in texts)
        part.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
