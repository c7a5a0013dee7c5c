"""The cases of the behavioural suite: how templates become cases, and that those of the exam are clean."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from app.inference.text import normalise
from training.data.examples import LABELS, Example
from training.evaluation.cases import KINDS, SUITE, Case, expand, read_cases, suite_examples
from training.fit.mixture import without

CASES = read_cases()
# Of statements of fact there are no two polarities.
ONE_SIDED = {"neutral"}


class TestTemplates:
    def texts(self, **test: object) -> list[str]:
        return [case.text for case in expand("sample", {"name": "a test", "expect": "neutral", **test})]

    def test_slots_are_filled_in_step(self) -> None:
        fill = {"a": ["one", "two", "three"], "b": ["red", "blue"]}
        assert self.texts(fill=fill, texts="{a} {b}\nall {b}") == [
            *("one red", "two blue", "three red"),
            *("all red", "all blue"),
        ]

    def test_a_slot_can_be_what_changes(self) -> None:
        fill = {"who": ["Ann", "Wei"], "town": ["Rome", "Cork"]}
        assert self.texts(fill=fill, vary="who", texts="{who} is in {town}.") == [
            *("Ann is in Rome.", "Wei is in Rome."),
            *("Ann is in Cork.", "Wei is in Cork."),
        ]

    def test_places_change_together_and_an_empty_value_leaves_no_blank_at_the_end(self) -> None:
        assert self.texts(texts="{He|She} sold {his|her} car{| today}") == [
            "He sold his car",
            "She sold her car today",
        ]

    def test_casing_is_changed_three_ways(self) -> None:
        assert self.texts(texts="I don't.", casing=True) == ["I don't.", "I DON'T.", "i don't.", "I Don't."]

    @pytest.mark.parametrize(
        ("test", "why"),
        [
            ({"expect": "happy"}, "is not of negative"),
            ({"expect": []}, "is not of negative"),
            ({"expect": "neutral", "rises": "positive"}, "one of expect, rises and falls"),
            ({}, "one of expect, rises and falls"),
            ({"expect": "neutral", "fil": {}}, "what is fil"),
            ({"expect": "neutral", "texts": "{what}"}, "not filled: what"),
            ({"expect": "neutral", "fill": {"what": ["a"]}}, "filled without need.* what"),
            ({"expect": "neutral", "texts": "{what}", "fill": {"what": ["a", False]}}, "quote"),
        ],
    )
    def test_a_mistake_is_named(self, test: dict[str, object], why: str) -> None:
        with pytest.raises(ValueError, match=f"sample, a test: .*{why}"):
            list(expand("sample", {"name": "a test", "texts": "Here.", **test}))


class TestSuite:
    """The suite's own hygiene."""

    def test_no_sentence_comes_twice(self) -> None:
        asked = Counter(case.text for case in CASES)
        assert [text for text, times in asked.items() if times > 1] == []

    def test_every_sentence_is_whole(self) -> None:
        assert [case.text for case in CASES if not case.text or set("{}|") & set(case.text)] == []
        assert [case.text for case in CASES if case.text != case.text.strip() or case.text == case.original] == []

    def test_every_expectation_is_of_a_label(self) -> None:
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
    def test_praise_and_blame_are_balanced(self, capability: str) -> None:
        sides = Counter(side(case) for case in CASES if case.capability == capability)
        assert 0.5 <= sides["positive"] / sides["negative"] <= 2


def side(case: Case) -> str | None:
    """Which polarity a case is about, if one."""
    if case.kind == "DIR":
        return case.score if case.sign > 0 else {"positive": "negative", "negative": "positive"}[case.score]
    return case.allowed[0] if len(case.allowed) == 1 else None


def test_no_training_sees_a_text_of_the_suite_however_it_reads_it() -> None:
    texts = [text for case in read_cases() for text in (case.original, case.text) if text]
    rows = [Example(normalise(text), "neutral", "set") for text in texts]
    assert without(rows, suite_examples()) == []
