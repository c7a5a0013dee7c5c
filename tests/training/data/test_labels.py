"""Names of labels: spelling, order, mappings and names that look alike."""

import pytest

from training.data import Example, LabelMap, check_labels, labels_of, order_labels
from training.data.labels import common_spellings, edit_distance, meaning, near_equal
from training.errors import InputError


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["Refund", "billing", "Account"], ["Refund", "billing", "Account"]),
        (["5", "1", "10", "2"], ["1", "2", "5", "10"]),
        (["0.5", "-1", "0"], ["-1", "0", "0.5"]),
        (["5", "1", "none"], ["5", "1", "none"]),
        (["Positive", "negative"], ["negative", "Positive"]),
        (["spam", "ham", "spam"], ["spam", "ham"]),
    ],
)
def test_labels_keep_their_order_and_numbers_are_sorted(labels: list[str], order: list[str]) -> None:
    assert order_labels(labels) == tuple(order)


def test_labels_of_scores_count_too() -> None:
    assert labels_of([Example("text", None, "set", {"neutral": 0.5, "negative": 0.5})]) == ("negative", "neutral")


def test_the_most_frequent_spelling_of_a_label_wins() -> None:
    spellings = common_spellings(["refund", "Refund", "Refund ", "Refund", "other"])
    assert spellings == {"refund": "Refund", "Refund": "Refund", "Refund ": "Refund", "other": "other"}


class TestLabelMap:
    def test_it_renames_and_numbers_are_one_label(self) -> None:
        mapping = LabelMap.parse("1:negative, 5:Positive,other=keep")
        assert [mapping.rename(label) for label in ("1.0", "5", "3")] == ["negative", "Positive", "3"]

    @pytest.mark.parametrize(("other", "result"), [("keep", "3"), ("drop", None), ("neutral", "neutral")])
    def test_other_says_what_happens_with_the_rest(self, other: str, result: str | None) -> None:
        assert LabelMap.parse(f"1:negative,other={other}").rename("3") == result

    def test_a_name_can_have_a_comma_or_a_colon(self) -> None:
        mapping = LabelMap.parse("late\\, lost:delivery,a:b:c")
        assert [mapping.rename(label) for label in ("Late, lost", "a:b")] == ["delivery", "c"]

    def test_other_alone_is_a_mapping(self) -> None:
        assert LabelMap.parse("other=x").rename("y") == "x"
        assert not LabelMap.parse("")

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("positive", "expected THEIRS:OURS, not positive"),
            ("1:", "expected THEIRS:OURS, not 1"),
            (":x", "expected THEIRS:OURS, not x"),
            ("1:x,other=", "other= needs keep, drop or a name"),
            ("1:x,1.0:y", "1.0 has two names"),
        ],
    )
    def test_a_wrong_mapping_is_explained(self, text: str, complaint: str) -> None:
        with pytest.raises(InputError, match=complaint):
            LabelMap.parse(text)


@pytest.mark.parametrize(
    ("counts", "pairs"),
    [
        ({"Refund": 30, "Refnud": 2}, [("Refnud", "Refund")]),
        ({"Refund": 30, "Refnud": 30}, [("Refnud", "Refund")]),
        ({"card lost": 9, "card_lost": 4}, [("card_lost", "card lost")]),
        ({"increase": 50, "decrease": 50}, []),  # two letters differ, and both are frequent
        ({"increase": 50, "incraese!": 1}, [("incraese!", "increase")]),
        ({"level 1": 9, "level 2": 9, "1": 5, "10": 5}, []),
        ({"cat": 9, "car": 9}, []),
        ({"positive": 9, "negative": 9}, []),
        ({"退款": 9, "退货": 9}, []),
    ],
)
def test_names_that_look_alike_are_found(counts: dict[str, int], pairs: list[tuple[str, str]]) -> None:
    assert near_equal(counts) == pairs


def test_exchanged_neighbours_are_one_error() -> None:
    assert edit_distance("refnud", "refund") == 1
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "ab") == 2


def test_labels_are_spelt_as_the_model_spells_them() -> None:
    rows = [Example("a", "positive", "dev"), Example("b", "1.0", "dev")]
    assert [row.label for row in check_labels(rows, ("Positive", "1"), "the model has")] == ["Positive", "1"]
    with pytest.raises(InputError, match="dev: a row with the label joy; the model has Positive, 1"):
        check_labels([Example("a", "joy", "dev")], ("Positive", "1"), "the model has")
    with pytest.raises(InputError, match="dev: a row without a label"):
        check_labels([Example("a", None, "dev")], ("Positive", "1"), "the model has")


@pytest.mark.parametrize(
    ("label", "what"),
    [
        ("Positive", "positive"), ("positiv", "positive"), ("positif", "positive"), ("positivo", "positive"),
        ("positief", "positive"), ("pozytywny", "positive"), ("POS", "positive"), ("négatif", "negative"),
        ("negativa", "negative"), ("neg", "negative"), ("neutre", "neutral"), ("neutraal", "neutral"),
        ("neutrální", "neutral"), ("neutro", "neutral"), ("position", "position"), ("neutron", "neutron"),
        ("negation", "negation"), ("very positive", "very positive"), ("Post", "post"), ("1.0", "1"),
    ],
)  # fmt: skip
def test_names_of_sentiment_in_other_languages_mean_the_same(label: str, what: str) -> None:
    assert meaning(label) == what
