"""Labelled sentences from a grammar, for what the public sets lack: negation, contrast, facts, irony, emoji, names.

The grammar is text, in `training/data/grammar`. A file holds sections, `[name]`, of entries, one a line or several with
" / " between them:

- `capabilities/negation.txt`: templates, in one section for each label;
- `domains/hotel.txt`: what can be said of a hotel; a sentence is about one domain;
- `words.txt`: what fits everywhere.

In an entry, `[a|b|]` is a choice and `{slot}` an entry of that section. A slot that is used twice keeps its value, and
a digit asks for another one: `{name} met {name2}`. An aspect of a domain brings its words along: `{aspect} {was}
{good}`, also `{bad}`, `{is}`, `{has}`, `{it_was}`, and `{good_mild}`, of which one can say that it was not. `{ask_low}`
is an `{ask}` that begins in lower case. A template that begins with `~` keeps its case as written.
"""

import argparse
import json
import random
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from training.data.examples import LABELS
from training.data.noise import noisy
from training.errors import InputError
from training.files import making

GRAMMAR = Path(__file__).parent / "grammar"

# How much of the rows each capability gets.
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
    "outcomes": 9,
    "messages": 6,
    "ratings": 3,
    "irony": 3,
    "idioms": 4,
    "slang": 4,
    "emoji": 7,
    "names": 10,
}
CONTEXT = 0.12  # share of the sentences about a domain that begin with a neutral one: "We stayed two nights."
TRIES = 30  # a template that has brought nothing new as often as this is done with

Sections = dict[str, list[str]]

_SLOT = re.compile(r"\{([a-z_]+)(\d?)\}")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_ARTICLE = re.compile(r"\b(a)n?(?= \W{0,2}(\w[\w'-]*))", re.IGNORECASE)
_AN = re.compile(
    r"[aeio]|u(?!ni(?!n|m)|s[aeu]|tili|tens|kr|kul|rin)|hour|honest|honou?r|heir|x-ray|8|11\b|18\b", re.IGNORECASE
)
_NOT_AN = re.compile(r"eu|one\b|once\b|ewe", re.IGNORECASE)
_SPELLED = re.compile(r"[AEFHILMNORSX](?:[A-Z]{1,3})?s?$")  # an ATM, an MRI, an SMS
_START = re.compile(r"((?:^|(?<!\.\.)[.!?]['\")]? )[\"'(]?)([a-z])")
_SETS_OUT = {"context", "fact", "ask", "nonfact", "name", "woman", "man"}  # no other sentence goes before these
_VERBS = ("was", "is", "has", "it_was", "it_is")
_FORMS = {False: ("was", "is", "has", "it was", "it is"), True: ("were", "are", "have", "they were", "they are")}
_ADJECTIVES = ("", "_too", "_word", "_mild", "_mild_too")
_ASPECT = {"aspect", *_VERBS, *("good" + kind for kind in _ADJECTIVES), *("bad" + kind for kind in _ADJECTIVES)}


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence and its label; the rest is for whoever looks through them."""

    text: str
    label: str
    source: str
    capability: str
    noise: str


def read(path: Path) -> Sections:
    """Read the sections of a grammar file."""
    sections: Sections = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("# "):
            if re.fullmatch(r"\[\w+\]", line):
                entries = sections.setdefault(line[1:-1], [])
            else:
                entries += line.split(" / ")
    return sections


def read_all(directory: Path) -> dict[str, Sections]:
    return {path.stem: read(path) for path in sorted(directory.glob("*.txt"))}


class Writer:
    """Fills templates; every entry of a list is used once before any is used twice."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._words = read(GRAMMAR / "words.txt")
        self._domains = read_all(GRAMMAR / "domains")
        self._strong = set(self._words["strong"])
        self._decks: dict[str, list[str]] = {}

    def write(self, template: str) -> tuple[str, str]:
        """Return a sentence, and the name of the domain that it is about, or ""."""
        text = self._choose(template.removeprefix("~"))
        tidy = not template.startswith("~")
        slots = {name.removesuffix("_low") for name, _ in _SLOT.findall(text)}
        needed = {"aspects" if name in _ASPECT else name for name in slots} - self._words.keys()
        able = [name for name, sections in self._domains.items() if needed <= sections.keys()]
        if not able:
            raise InputError(f"no domain has all of {sorted(needed)}: {template}")
        domain = self._draw(f"domain of {template}", able) if needed else ""
        if domain and tidy and not slots & _SETS_OUT and self.rng.random() < CONTEXT:
            text = "{context} " + text
        return _polish(self._fill(text, domain, {}), capitals=tidy), domain

    def _choose(self, text: str) -> str:
        while found := _CHOICE.search(text):
            text = text[: found.start()] + self.rng.choice(found[1].split("|")) + text[found.end() :]
        return text

    def _fill(self, text: str, domain: str, values: dict[str, str]) -> str:
        def value(found: re.Match[str]) -> str:
            name, number = found.groups()
            if name + number not in values:
                if name in _ASPECT:
                    self._bind_aspect(domain, number, values)
                else:
                    taken = {other for slot, other in values.items() if slot.rstrip("0123456789") == name}
                    values[name + number] = self._entry(domain, name, values, taken)
            return values[name + number]

        return _SLOT.sub(value, self._choose(text))

    def _entry(self, domain: str, name: str, values: dict[str, str], taken: set[str]) -> str:
        if name.endswith("_low"):
            entry = self._entry(domain, name.removesuffix("_low"), values, taken)
            return entry[0].lower() + entry[1:]
        mine = self._domains.get(domain, {}).get(name)
        entries = mine or self._words[name]
        for _ in range(TRIES):
            entry = self._fill(self._draw(f"{domain if mine else ''} {name}", entries), domain, values)
            if entry not in taken:
                break
        return entry

    def _bind_aspect(self, domain: str, number: str, values: dict[str, str]) -> None:
        """An aspect reads `seats*: roomy, soft : cramped, hard`; the star is for the plural."""
        taken = {value for slot, value in values.items() if slot.startswith("aspect")}
        aspects = [line for line in self._domains[domain]["aspects"] if line.split(":")[0].rstrip("*") not in taken]
        noun, *adjectives = self._draw("" if taken else f"{domain} aspects", aspects).split(":")
        found = dict(zip(_VERBS, _FORMS[noun.endswith("*")], strict=True), aspect=noun.rstrip("*"))
        for side, words in zip(("good", "bad"), adjectives, strict=True):
            every = [word.strip() for word in words.split(",")]
            mild = [word for word in every if word not in self._strong and word.split()[0] not in {"a", "the"}]
            found[side], found[side + "_too"] = self.rng.sample(every, 2)
            found[side + "_mild"], found[side + "_mild_too"] = self.rng.sample(mild, 2)
            found[side + "_word"] = self.rng.choice([word for word in every if " " not in word])
        values.update({slot + number: word for slot, word in found.items()})

    def _draw(self, name: str, entries: list[str]) -> str:
        if not name:
            return self.rng.choice(entries)
        if not self._decks.get(name):
            self._decks[name] = self.rng.sample(entries, len(entries))
        return self._decks[name].pop()


def write_sentences(rows: int, seed: int, noise: float = 0.25) -> list[Sentence]:
    """Return `rows` different rows, in random order; the share `noise` of them are made untidy."""
    rng = random.Random(seed)
    writer = Writer(rng)
    capabilities = read_all(GRAMMAR / "capabilities")
    seen: set[str] = set()
    found: list[Sentence] = []
    for capability, label, count in _cells(capabilities, rows):
        sentences = _sentences(writer, capabilities[capability][label], seen)
        for _ in range(count):
            text, domain = next(sentences, ("", ""))
            if not text:
                raise InputError(f"{capability}/{label} has no further texts: ask for fewer rows")
            kind = ""
            if rng.random() < noise:
                untidy, kind = noisy(text, domain, rng)
                if untidy.casefold() in seen and untidy.casefold() != text.casefold():
                    kind = ""
                else:
                    text = untidy
                    seen.add(text.casefold())
            found.append(Sentence(text, label, "templates", capability, kind))
    rng.shuffle(found)
    return found


def _sentences(writer: Writer, templates: list[str], seen: set[str]) -> Iterator[tuple[str, str]]:
    """Yield new sentences and their domains, each template in turn, until none brings anything new."""
    failures = dict.fromkeys(writer.rng.sample(templates, len(templates)), 0)
    while failures:
        for template in list(failures):
            text, domain = writer.write(template)
            if text.casefold() not in seen:
                seen.add(text.casefold())
                yield text, domain
                continue
            failures[template] += 1
            if failures[template] == TRIES:
                del failures[template]


def _cells(capabilities: dict[str, Sections], rows: int) -> Iterator[tuple[str, str, int]]:
    """Split `rows` by share, and evenly among the labels of each capability."""
    total, before, reached = sum(SHARES.values()), 0, 0.0
    for capability, share in SHARES.items():
        labels = [label for label in LABELS if label in capabilities[capability]]
        for label in labels:
            reached += rows * share / total / len(labels)
            yield capability, label, round(reached) - before
            before = round(reached)


def _polish(text: str, *, capitals: bool) -> str:
    text = _ARTICLE.sub(_article, " ".join(text.split()))
    return _START.sub(lambda found: found[1] + found[2].upper(), text) if capitals else text


def _article(found: re.Match[str]) -> str:
    word = found[2]
    vowel = _SPELLED.match(word) if word.isupper() else _AN.match(word) and not _NOT_AN.match(word)
    return found[1] + ("n" if vowel else "")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=30_000, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="(%(default)s)")
    parser.add_argument("--noise", type=float, default=0.25, help="share of untidy rows (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="a new .jsonl file")


def main(args: argparse.Namespace) -> None:
    with making(args.out) as part:
        rows = write_sentences(args.rows, args.seed, args.noise)
        lines = (json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)
        part.write_text("".join(lines), encoding="utf-8")
    for capability in SHARES:
        counts = {label: sum((row.capability, row.label) == (capability, label) for row in rows) for label in LABELS}
        print(f"{capability:14}" + "".join(f"{label:>10} {count:5}" for label, count in counts.items()))
