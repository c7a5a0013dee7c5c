"""Explanations: a made-up model whose log-odds are the sum of the weights of its words."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference import normalise
from app.serving.explain import MAX_VARIANTS, Explainer, cost_of, find_phrases, find_words, most_variants
from app.types import Prediction, WordWeight


def predict(text: str, weights: Mapping[str, float]) -> Prediction:
    log_odds = sum(weights.get(text[start:end], 0.0) for start, end in find_words(text))
    score = 1 / (1 + math.exp(-log_odds))
    return Prediction("positive", score, {"negative": 1 - score, "positive": score})


def explain(text: str, weights: Mapping[str, float]) -> tuple[list[WordWeight], int]:
    explainer = Explainer(text, predict(text, weights))
    variants = 0
    while texts := explainer.next_variants():
        variants += len(texts)
        explainer.observe([predict(variant, weights) for variant in texts])
    return explainer.weights(), variants


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Loved it!", ["Loved", "it"]),
        ("(really) “good”, isn't it?", ["really", "good", "isn't", "it"]),
        ("well-made, 5/5", ["well-made", "5/5"]),
        ("@bob said #great: https://x.y/a?b=c, no", ["@bob", "said", "#great", "https://x.y/a?b=c", "no"]),
        ("so 😍 ★★☆ :)", ["so", "😍", "★★☆", ":)"]),
        ("a<br />b &amp; c", ["a", "b", "&amp;", "c"]),
        ("这很好 ok", ["这", "很", "好", "ok"]),
        ("  \n", []),
    ],
)
def test_words_have_no_punctuation_around_them(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in find_words(text)] == words


def test_words_that_add_up_get_their_own_weights() -> None:
    weights = {"wonderful": 2.0, "dull": -1.5, "but": -0.5}
    explanation, _ = explain("A wonderful start, but a dull end.", weights)
    assert [(each.start, each.end) for each in explanation] == find_words("A wonderful start, but a dull end.")
    expected = [0, 2.0, 0, -0.5, 0, -1.5, 0]
    assert [each.weight for each in explanation] == pytest.approx(expected, abs=1e-9)


def test_two_words_that_say_the_same_share_its_weight() -> None:
    def one_is_enough(text: str) -> Prediction:
        found = any(text[start:end] in ("great", "superb") for start, end in find_words(text))
        return predict("x", {"x": 2.0 if found else 0.0})

    explainer = Explainer("great superb", one_is_enough("great superb"))
    while texts := explainer.next_variants():
        explainer.observe([one_is_enough(variant) for variant in texts])
    # Without either of them, nothing changes: leaving out single words would show no weight at all.
    assert [each.weight for each in explainer.weights()] == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("words", range(1, 8))
def test_a_text_takes_no_more_variants_than_it_is_charged_for(words: int) -> None:
    text = ". ".join(f"w{number}" for number in range(words))
    _, variants = explain(text, {})
    assert 1 <= variants <= cost_of(text) - 1 == most_variants(words) == words**2


@pytest.mark.parametrize("text", ["", "word " * 12, "word " * 400, "\u597d" * 2000])
def test_the_cost_of_any_text_is_bounded(text: str) -> None:
    assert cost_of(text) == 1 + (MAX_VARIANTS if text else 1)


def test_each_phrase_of_a_short_text_is_seen_in_every_context() -> None:
    def both_or_nothing(text: str) -> Prediction:  # "not" turns "bad" around, and "bad" turns "not" around
        found = {text[start:end] for start, end in find_words(text)}
        return predict("x", {"x": 3.0 if {"not", "bad"} <= found else -2.0 if "bad" in found else 0.0})

    explainer = Explainer("not so bad", both_or_nothing("not so bad"))
    while texts := explainer.next_variants():
        explainer.observe([both_or_nothing(variant) for variant in texts])
    # Complete Owen values, by hand: the phrases are (not so) and bad.
    assert [each.weight for each in explainer.weights()] == pytest.approx([2.5, 0.0, 0.5])


def test_a_long_text_takes_no_more_variants_than_allowed() -> None:
    words = [f"w{number}" for number in range(2000)]
    explanation, variants = explain(" ".join(words), {"w7": 3.0, "w1500": -2.0})
    assert MAX_VARIANTS - 2 < variants <= MAX_VARIANTS
    assert len(explanation) == 2000
    best = max(explanation, key=lambda each: each.weight)
    worst = min(explanation, key=lambda each: each.weight)
    assert abs(best.start - " ".join(words).index("w7 ")) < 300
    assert abs(worst.start - " ".join(words).index("w1500")) < 300


def test_the_largest_effects_are_looked_into_first() -> None:
    words = [f"w{number}" for number in range(128)]
    explanation, _ = explain(" ".join(words), {"w100": 4.0})
    by_word = dict(zip(words, explanation, strict=True))
    assert by_word["w100"].weight == pytest.approx(4.0)
    assert by_word["w3"].weight == pytest.approx(0.0)


def test_words_join_to_clauses_and_those_to_sentences() -> None:
    text = "No. It was, all in all, really good"
    words = find_words(text)
    phrases = {
        " ".join(text[start:end] for start, end in words[first:last]) for first, last in find_phrases(text, words)
    }
    inside = {"It was", "all in", "all in all", "really good", "It was all in all"}
    assert phrases == inside | {"It was all in all really good", "No It was all in all really good"}


def test_the_first_variants_are_nothing_and_each_half_alone() -> None:
    text = "So good. It was a fine day"
    variants = Explainer(text, predict(text, {})).next_variants()
    assert [" ".join(variant.split()) for variant in variants[:3]] == [".", "So good.", ". It was a fine day"]


@pytest.mark.parametrize("text", ["", "  ", "\u200b"])
def test_a_text_without_words_has_no_explanation(text: str) -> None:
    explainer = Explainer(text, predict("x", {}))
    if text.strip():
        explainer.observe([predict("x", {}) for _ in explainer.next_variants()])
    assert explainer.next_variants() == []
    assert sum(each.weight for each in explainer.weights()) == 0


@pytest.mark.parametrize(
    "text", ["good\u200b", "<b>good</b>", "<p>I like it</p>", "good &nbsp;&nbsp;", "\u115f good", "<br/>good<br/>"]
)
def test_a_variant_is_never_blank(text: str) -> None:
    explainer = Explainer(text, predict(text, {}))
    variants = explainer.next_variants()
    assert "." in variants
    assert all(map(normalise, variants))


def test_a_variant_that_is_no_valid_text_changes_nothing() -> None:
    explainer = Explainer("so good", predict("so good", {"good": 1.0}))
    assert len(explainer.next_variants()) == 3
    # Nothing, "so" and "good": that the second is invalid tells nothing, so it counts as the whole text.
    explainer.observe([predict("", {}), None, predict("good", {"good": 1.0})])
    assert [each.weight for each in explainer.weights()] == pytest.approx([0.5, 0.5])


@given(st.text(max_size=60), st.dictionaries(st.text(max_size=3), st.floats(-3, 3), max_size=5))
def test_weights_add_up_to_the_effect_of_all_words(text: str, weights: dict[str, float]) -> None:
    explainer = Explainer(text, predict(text, weights))
    first, *_ = explainer.next_variants() or ["."]
    explanation, _ = explain(text, weights)
    assert [(each.start, each.end) for each in explanation] == find_words(text)
    assert all(0 <= each.start < each.end <= len(text) for each in explanation)
    if explanation:
        effect = log_odds(predict(text, weights)) - log_odds(predict(first, weights))
        assert sum(each.weight for each in explanation) == pytest.approx(effect, abs=1e-6)


def log_odds(prediction: Prediction) -> float:
    score = prediction.scores["positive"]
    return math.log(score / (1 - score))
