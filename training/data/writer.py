"""Fill the templates of the grammar, which consists of text files in the folder `grammar`.

A file holds sections, `[name]`, of entries: one per line, or several separated by " / ".

- `capabilities/negation.txt`: templates, in one section per label.
- `domains/hotel.txt`: words and phrases about one domain. A sentence is about one domain.
- `words.txt`: words that fit every domain.
- `languages/fr.txt`: templates in another language, in the section `sentences`, and their words.

In an entry, `[a|b|]` is a choice and `{slot}` stands for an entry of the section of that name. If a slot occurs twice,
it has the same value both times; a digit asks for another value: `{name} met {name2}`. An aspect of a domain comes with
words that agree with it: `{aspect} {was} {good}`, and also `{bad}`, `{is}`, `{has}`, `{it_was}`, and `{good_mild}`, for
words that fit after "not". `{ask_low}` is an `{ask}` that begins with a lower-case letter. A template that begins
with `~` keeps its case as written.
"""

import random
import re
from pathlib import Path

from training.errors import InputError

GRAMMAR = Path(__file__).parent / "grammar"

CONTEXT = 0.12  # share of sentences about a domain that begin with a neutral sentence: "We stayed two nights."
_TRIES = 30  # attempts to draw a value that no other slot of the template has

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
# A template with one of these slots gets no neutral sentence before it.
_NO_CONTEXT = {"context", "fact", "ask", "nonfact", "name", "woman", "man"}
_VERBS = ("was", "is", "has", "it_was", "it_is")
_FORMS = {False: ("was", "is", "has", "it was", "it is"), True: ("were", "are", "have", "they were", "they are")}
_ADJECTIVES = ("", "_too", "_word", "_mild", "_mild_too")
_ASPECT = {"aspect", *_VERBS, *("good" + kind for kind in _ADJECTIVES), *("bad" + kind for kind in _ADJECTIVES)}


def read_sections(path: Path) -> Sections:
    sections: Sections = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("# "):
            if re.fullmatch(r"\[\w+\]", line):
                entries = sections.setdefault(line[1:-1], [])
            else:
                entries += line.split(" / ")
    return sections


def read_folder(directory: Path) -> dict[str, Sections]:
    return {path.stem: read_sections(path) for path in sorted(directory.glob("*.txt"))}


class Writer:
    """Fills templates. It uses every entry of a section once before it uses one again.

    `foreign` has the words of another language, which has no domains and whose articles are left alone.
    """

    def __init__(self, rng: random.Random, foreign: Sections | None = None) -> None:
        self.rng = rng
        self._english = foreign is None
        self._words = foreign or read_sections(GRAMMAR / "words.txt")
        self._domains = read_folder(GRAMMAR / "domains") if self._english else {}
        self._strong = set(self._words.get("strong", ()))
        self._decks: dict[str, list[str]] = {}

    def write(self, template: str) -> tuple[str, str]:
        """Return a sentence and the name of its domain, or "" if it is about none."""
        text = self._choose(template.removeprefix("~"))
        tidy = not template.startswith("~")
        slots = {name.removesuffix("_low") for name, _ in _SLOT.findall(text)}
        needed = {"aspects" if name in _ASPECT else name for name in slots} - self._words.keys()
        domains = [name for name, sections in self._domains.items() if needed <= sections.keys()]
        if needed and not domains:
            raise InputError(f"no domain has all of the sections {sorted(needed)}: {template}")
        domain = self._draw(f"domain of {template}", domains) if needed else ""
        if domain and tidy and not slots & _NO_CONTEXT and self.rng.random() < CONTEXT:
            text = "{context} " + text
        text = " ".join(self._fill(text, domain, {}).split())
        return _polish(text, capitals=tidy) if self._english else text, domain

    def _choose(self, text: str) -> str:
        while match := _CHOICE.search(text):
            text = text[: match.start()] + self.rng.choice(match[1].split("|")) + text[match.end() :]
        return text

    def _fill(self, text: str, domain: str, values: dict[str, str]) -> str:
        def value(match: re.Match[str]) -> str:
            name, number = match.groups()
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
        own = self._domains.get(domain, {}).get(name)
        entries = own or self._words[name]
        for _ in range(_TRIES):
            entry = self._fill(self._draw(f"{domain if own else ''} {name}", entries), domain, values)
            if entry not in taken:
                break
        return entry

    def _bind_aspect(self, domain: str, number: str, values: dict[str, str]) -> None:
        """Choose an aspect: `seats*: roomy, soft : cramped, hard`, where the star marks the plural."""
        taken = {value for slot, value in values.items() if slot.startswith("aspect")}
        aspects = [line for line in self._domains[domain]["aspects"] if line.split(":")[0].rstrip("*") not in taken]
        noun, *adjectives = self._draw("" if taken else f"{domain} aspects", aspects).split(":")
        forms = dict(zip(_VERBS, _FORMS[noun.endswith("*")], strict=True), aspect=noun.rstrip("*"))
        for side, words in zip(("good", "bad"), adjectives, strict=True):
            every = [word.strip() for word in words.split(",")]
            mild = [word for word in every if word not in self._strong and word.split()[0] not in {"a", "the"}]
            forms[side], forms[side + "_too"] = self.rng.sample(every, 2)
            forms[side + "_mild"], forms[side + "_mild_too"] = self.rng.sample(mild, 2)
            forms[side + "_word"] = self.rng.choice([word for word in every if " " not in word])
        values.update({slot + number: word for slot, word in forms.items()})

    def _draw(self, name: str, entries: list[str]) -> str:
        if not name:
            return self.rng.choice(entries)
        if not self._decks.get(name):
            self._decks[name] = self.rng.sample(entries, len(entries))
        return self._decks[name].pop()


def _polish(text: str, *, capitals: bool) -> str:
    text = _ARTICLE.sub(_article, text)
    return _START.sub(lambda match: match[1] + match[2].upper(), text) if capitals else text


def _article(match: re.Match[str]) -> str:
    word = match[2]
    vowel = _SPELLED.match(word) if word.isupper() else _AN.match(word) and not _NOT_AN.match(word)
    return match[1] + ("n" if vowel else "")
