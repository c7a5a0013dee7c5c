"""The cases of the behavioural suite, made from the templates in the folder `suite`.

Each file is one capability: a list of tests of this form.

    - name: praise of dishes
      expect: positive                  # or [neutral, positive] for any of these; or `rises` or `falls`, see below
      fill: {dish: [soup, pie], word: [tasty, rich]}
      texts: |                          # one template per line (or a YAML list, for long ones)
        The {dish} was {word}.
        The {dish} at the {station|harbour|airport} was {word}.

Slots are filled in parallel, and shorter lists start again, so put words that belong together at the same position: the
first template makes "The soup was tasty." and "The pie was rich." A place with `|` holds variants, and the first one is
the original. The test decides what is checked:

- `expect`: the original must have the label (minimum functionality test, MFT), and every variant must have the same
  label as the original (invariance, INV).
- `rises` or `falls` with a label: the variant must move the score of this label in that direction (directional
  expectation, DIR) by at least `by`. Without `by`, it must not move in the other direction by more than TOLERANCE.

`vary` names a slot whose values are the variants. `casing: true` adds variants in other letter case.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import capwords
from typing import Any

import yaml

from app.inference.text import normalise
from training.data import LABELS, Example
from training.errors import InputError

SUITE = Path(__file__).parent / "suite"
KINDS = ("MFT", "INV", "DIR")
# "Very good" can hardly score higher than a "good" that already has 0.98, and int8 arithmetic changes scores by about
# 0.01. CheckList allows 0.1 in its directional tests for the same reason.
TOLERANCE = 0.1
_PLACE = re.compile(r"\{([^{}]*)\}")
_KEYS = {"name", "expect", "rises", "falls", "by", "fill", "vary", "casing", "texts"}


@dataclass(frozen=True, slots=True)
class Case:
    """One sentence to check. In INV and DIR cases, `original` is the sentence that it is a variant of."""

    capability: str
    kind: str
    name: str
    text: str
    original: str = ""
    allowed: tuple[str, ...] = ()  # MFT: the correct labels
    score: str = ""  # DIR: the label whose score must move …
    least: float = 0.0  # … by at least this much …
    sign: int = 1  # … up (1) or down (-1)

    @property
    def expectation(self) -> str:
        if self.kind == "MFT":
            return " or ".join(self.allowed)
        if self.kind == "INV":
            return f"the label of: {self.original}"
        verb = "rises" if self.sign > 0 else "falls"
        return f"{self.score} {verb} by {self.least:+.2f} or more from: {self.original}"


def read_cases(folder: Path = SUITE) -> list[Case]:
    return [
        case
        for file in sorted(folder.glob("*.yaml"))
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))
        for case in expand(file.stem, test)
    ]


def suite_examples() -> list[Example]:
    """Return every sentence of the suite without a label. These must not be used for training."""
    texts = {text: None for case in read_cases() for text in (case.original, case.text) if text}
    return [Example(normalise(text), None, "behavioural_suite") for text in texts]


def expand(capability: str, test: dict[str, Any]) -> Iterator[Case]:
    """Yield every case of one test. Raises `InputError` if the test is not valid."""
    where = f"{capability}, {test.get('name')}"
    goal, wanted = _goal(test, where)
    texts = test["texts"].splitlines() if isinstance(test["texts"], str) else test["texts"]
    fill = test.get("fill", {})
    _check_slots(texts, fill, where)
    for template in texts:
        for filled in _fill(template, fill, test.get("vary")):
            original, *variants = _vary(filled, casing=test.get("casing", False))
            if goal == "expect":
                yield Case(capability, "MFT", test["name"], original, allowed=wanted)
                yield from (Case(capability, "INV", test["name"], text, original) for text in variants)
                continue
            least, sign = test.get("by", -TOLERANCE), 1 if goal == "rises" else -1
            for text in variants:
                yield Case(capability, "DIR", test["name"], text, original, score=wanted[0], least=least, sign=sign)


def _goal(test: dict[str, Any], where: str) -> tuple[str, tuple[str, ...]]:
    goals = test.keys() & {"expect", "rises", "falls"}
    if unknown := test.keys() - _KEYS:
        raise InputError(f"{where}: unknown key {', '.join(sorted(unknown))}")
    if len(goals) != 1:
        raise InputError(f"{where}: use exactly one of expect, rises and falls")
    (goal,) = goals
    wanted = (test[goal],) if isinstance(test[goal], str) else tuple(test[goal])
    if not wanted or not set(wanted) <= set(LABELS):
        raise InputError(f"{where}: the label of {goal} must be one of {', '.join(LABELS)}")
    return goal, wanted


def _check_slots(texts: list[str], fill: dict[str, list[str]], where: str) -> None:
    slots = {place for text in texts for place in _PLACE.findall(text) if "|" not in place}
    if slots != fill.keys():
        raise InputError(f"{where}: slots and keys of fill differ: {', '.join(sorted(slots ^ fill.keys()))}")
    if not_strings := [value for values in fill.values() for value in values if not isinstance(value, str)]:
        raise InputError(f"{where}: quote {not_strings}, which YAML does not read as strings")


def _fill(template: str, fill: dict[str, list[str]], vary: str | None) -> Iterator[str]:
    """Yield the template with its slots filled. Places with `|` stay, and the slot `vary` becomes such a place."""
    slots = [name for name in _PLACE.findall(template) if "|" not in name]
    turns = max((len(fill[slot]) for slot in slots if slot != vary), default=1)
    for turn in range(turns):
        values = {slot: fill[slot][turn % len(fill[slot])] for slot in slots}
        if vary in values:
            values[vary] = "{" + "|".join(fill[vary]) + "}"
        yield _replace(template, values)


def _replace(template: str, values: dict[str, str]) -> str:
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), template)


def _vary(filled: str, *, casing: bool) -> list[str]:
    """Return the original, then its variants. All places of a sentence change together."""
    places = {place: place.split("|") for place in _PLACE.findall(filled)}
    turns = range(max(map(len, places.values()), default=1))
    chosen = ({place: values[turn % len(values)] for place, values in places.items()} for turn in turns)
    texts = [_replace(filled, values).strip() for values in chosen]
    if casing:
        texts += [texts[0].upper(), texts[0].lower(), capwords(texts[0])]
    return texts
