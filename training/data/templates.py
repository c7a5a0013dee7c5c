"""`python -m training templates`: labelled sentences for what the public sets lack.

They cover negation, contrast, plain facts, irony, emoji, names and more: see `writer.py` for the grammar. Sentences in
other languages have no label but even scores, from which an English model learns to be unsure.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from training.data.labels import LABELS
from training.data.noise import noisy
from training.data.writer import GRAMMAR, Sections, Writer, read_folder
from training.errors import InputError
from training.files import atomic_output

OTHER_LANGUAGES = "other_languages"
# Relative number of rows of each capability.
SHARES = {
    "plain": 13,
    "negation": 16,
    "contrast": 9,
    "change": 6,
    "comparison": 6,
    "hypothetical": 6,
    "others": 5,
    "questions": 7,
    "facts": 9,
    "outcomes": 12,
    "messages": 6,
    "ratings": 3,
    "irony": 3,
    "idioms": 4,
    "slang": 4,
    "emoji": 7,
    "names": 10,
    "stars": 8,
    "reactions": 8,
    "lukewarm": 8,
    "notices": 8,
    "amounts": 10,
    "loanwords": 3,
    OTHER_LANGUAGES: 10,
}
# As good as even: the label of a row with exactly even scores would depend on rounding.
UNSURE = {"negative": 0.33, "neutral": 0.34, "positive": 0.33}
_TRIES = 30  # attempts without a new sentence, after which a template is not used again


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence and its label, or scores without a label. `capability` and `noise` help to inspect the file."""

    text: str
    label: str | None
    scores: dict[str, float] | None
    source: str
    capability: str
    noise: str


def write_sentences(rows: int, seed: int, noise: float = 0.25) -> list[Sentence]:
    """Return `rows` different sentences in random order. The share `noise` of them get noise, such as typos."""
    rng = random.Random(seed)
    english = Writer(rng)
    languages = read_folder(GRAMMAR / "languages")
    capabilities = read_folder(GRAMMAR / "capabilities")
    capabilities[OTHER_LANGUAGES] = {language: sections["sentences"] for language, sections in languages.items()}
    seen: set[str] = set()
    sentences: list[Sentence] = []
    for capability, section, count in _cells(capabilities, rows):
        foreign = languages[section] if capability == OTHER_LANGUAGES else None
        writer = Writer(rng, foreign) if foreign else english
        new_sentences = _sentences(writer, capabilities[capability][section], seen)
        for _ in range(count):
            text, domain = next(new_sentences, ("", ""))
            if not text:
                raise InputError(f"{capability}/{section} allows no more sentences; lower --rows")
            kind = ""
            if rng.random() < noise:
                changed, kind = noisy(text, domain, rng)
                if changed.casefold() in seen and changed.casefold() != text.casefold():
                    kind = ""
                else:
                    text = changed
                    seen.add(text.casefold())
            if foreign:
                sentences.append(Sentence(text, None, UNSURE, OTHER_LANGUAGES, section, kind))
            else:
                sentences.append(Sentence(text, section, None, "templates", capability, kind))
    rng.shuffle(sentences)
    return sentences


def _sentences(writer: Writer, templates: list[str], seen: set[str]) -> Iterator[tuple[str, str]]:
    """Yield new sentences and their domains from each template in turn, until no template yields a new one."""
    failures = dict.fromkeys(writer.rng.sample(templates, len(templates)), 0)
    while failures:
        for template in list(failures):
            text, domain = writer.write(template)
            if text.casefold() not in seen:
                seen.add(text.casefold())
                yield text, domain
                continue
            failures[template] += 1
            if failures[template] == _TRIES:
                del failures[template]


def _cells(capabilities: dict[str, Sections], rows: int) -> Iterator[tuple[str, str, int]]:
    """Divide `rows` by the shares, and then evenly among the labels or languages of each capability."""
    total, before, reached = sum(SHARES.values()), 0, 0.0
    for capability, share in SHARES.items():
        sections = [label for label in LABELS if label in capabilities[capability]] or list(capabilities[capability])
        for section in sections:
            reached += rows * share / total / len(sections)
            yield capability, section, round(reached) - before
            before = round(reached)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=30_000, help="number of sentences (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="seed of the random choices (default: %(default)s)")
    parser.add_argument(
        "--noise", type=float, default=0.25, help="share of sentences with noise, such as typos (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="new .jsonl file for the sentences")


def main(args: argparse.Namespace) -> None:
    with atomic_output(args.out) as part:
        rows = write_sentences(args.rows, args.seed, args.noise)
        lines = (json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)
        part.write_text("".join(lines), encoding="utf-8")
    counts = Counter((OTHER_LANGUAGES if row.scores else row.capability, row.label) for row in rows)
    for capability in SHARES:
        cells = ((label or "no label", counts[capability, label]) for label in (*LABELS, None))
        print(f"{capability:16}" + "".join(f"{label:>10} {count:5}" for label, count in cells if count))
