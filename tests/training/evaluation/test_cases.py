"""The cases of the behavioural suite: how templates become cases, and checks of the suite itself."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from app.inference.text import normalise
from training.data import LABELS, Example, without
from training.evaluation.cases import KINDS, SUITE, Case, expand, read_cases, suite_examples

CASES = read_cases()
# Facts have no polarity that could be balanced.
ONE_SIDED = {"neutral"}


class TestTemplates:
    def texts(self, **test: object) -> list[str]:
        return [case.text for case in expand("sample", {"name": "a test", "expect": "neutral", **test})]

    def test_slots_are_filled_in_parallel(self) -> None:
        fill = {"a": ["one", "two", "three"], "b": ["red", "blue"]}
        assert self.texts(fill=fill, texts="{a} {b}\nall {b}") == [
            *("one red", "two blue", "three red"),
            *("all red", "all blue"),
        ]

    def test_the_values_of_a_slot_can_be_the_variants(self) -> None:
        fill = {"who": ["Ann", "Wei"], "town": ["Rome", "Cork"]}
        assert self.texts(fill=fill, vary="who", texts="{who} is in {town}.") == [
            *("Ann is in Rome.", "Wei is in Rome."),
            *("Ann is in Cork.", "Wei is in Cork."),
        ]

    def test_places_change_together_and_empty_values_leave_no_space(self) -> None:
        assert self.texts(texts="{He|She} sold {his|her} car{| today}") == [
            "He sold his car",
            "She sold her car today",
        ]

    def test_casing_adds_three_variants(self) -> None:
        assert self.texts(texts="I don't.", casing=True) == ["I don't.", "I DON'T.", "i don't.", "I Don't."]

    @pytest.mark.parametrize(
        ("test", "why"),
        [
            ({"expect": "happy"}, "must be one of negative"),
            ({"expect": []}, "must be one of negative"),
            ({"expect": "neutral", "rises": "positive"}, "exactly one of expect, rises and falls"),
            ({}, "exactly one of expect, rises and falls"),
            ({"expect": "neutral", "fil": {}}, "unknown key fil"),
            ({"expect": "neutral", "texts": "{what}"}, "slots and keys of fill differ: what"),
            ({"expect": "neutral", "fill": {"what": ["a"]}}, "slots and keys of fill differ: what"),
            ({"expect": "neutral", "texts": "{what}", "fill": {"what": ["a", False]}}, "quote"),
        ],
    )
    def test_an_invalid_test_is_rejected(self, test: dict[str, object], why: str) -> None:
        with pytest.raises(ValueError, match=f"sample, a test: .*{why}"):
            list(expand("sample", {"name": "a test", "texts": "Here.", **test}))


class TestSuite:
    def test_no_sentence_occurs_twice(self) -> None:
        counts = Counter(case.text for case in CASES)
        assert [text for text, times in counts.items() if times > 1] == []

    def test_every_sentence_is_complete(self) -> None:
        assert [case.text for case in CASES if not case.text or set("{}|") & set(case.text)] == []
        assert [case.text for case in CASES if case.text != case.text.strip() or case.text == case.original] == []

    def test_every_expectation_names_a_label(self) -> None:
        assert {label for case in CASES for label in case.allowed} == set(LABELS)
        assert {case.score for case in CASES if case.kind == "DIR"} == {"negative", "positive"}
        assert {case.kind for case in CASES} == set(KINDS)

    @pytest.mark.parametrize("file", sorted(SUITE.glob("*.yaml")), ids=lambda file: file.stem)
    def test_a_capability_has_enough_templates_and_cases(self, file: Path) -> None:
        tests = yaml.safe_load(file.read_text(encoding="utf-8"))
        templates = [test["texts"].splitlines() if isinstance(test["texts"], str) else test["texts"] for test in tests]
        assert sum(map(len, templates)) >= 15
        assert sum(case.capability == file.stem for case in CASES) >= 50

    @pytest.mark.parametrize("capability", sorted({case.capability for case in CASES} - ONE_SIDED))
    def test_praise_and_criticism_are_balanced(self, capability: str) -> None:
        sides = Counter(side(case) for case in CASES if case.capability == capability)
        assert 0.5 <= sides["positive"] / sides["negative"] <= 2


def side(case: Case) -> str | None:
    """Return the polarity of a case, or None if it has none."""
    if case.kind == "DIR":
        return case.score if case.sign > 0 else {"positive": "negative", "negative": "positive"}[case.score]
    return case.allowed[0] if len(case.allowed) == 1 else None


def test_no_text_of_the_suite_is_trained_on() -> None:
    texts = [text for case in read_cases() for text in (case.original, case.text) if text]
    rows = [Example(normalise(text), "neutral", "set") for text in texts]
    assert without(rows, suite_examples()) == []
