"""The sets that the choice of settings is judged on."""

from perf.training.sets import OTHERS, SIX, Row, make_sets


def test_the_sets_are_those_of_the_seed() -> None:
    sets = make_sets(names=SIX + OTHERS)
    assert sets == make_sets(names=SIX + OTHERS)
    assert sets != make_sets(seed=2, names=SIX + OTHERS)
    shapes = {each.name: (len(each.train), len({label for _, label in each.train})) for each in sets}
    assert shapes == {
        "binary": (400, 2),
        "stars": (500, 5),
        "intents": (600, 12),
        "topics": (800, 40),
        "german": (400, 3),
        "few": (90, 3),
        "departments": (300, 5),
        "hotels": (2000, 3),
    }


def test_no_text_of_an_exam_is_trained_on() -> None:
    for each in make_sets(names=SIX + OTHERS):
        train, exam = ({text for text, _ in rows} for rows in (each.train, each.exam))
        assert (len(train), len(exam)) == (len(each.train), 1000)
        assert not train & exam
        assert {label for _, label in each.exam} <= {label for _, label in each.train}
        assert not any("{" in text or "|" in text for text in train | exam)


def test_a_third_of_the_phrases_is_only_in_the_exam() -> None:
    (intents,) = make_sets(names=["intents"])
    phrases = ("card is declined", "cannot pay for", "payment of order", "shows a payment error", "refuse my card")
    phrases += ("by card does not work", "was rejected", "page hangs", "try to pay")  # of payment_failed
    assert sum(_has(phrase, intents.exam) for phrase in phrases) == 9
    assert sum(_has(phrase, intents.train) for phrase in phrases) == 6


def test_sentence_patterns_are_in_both_parts() -> None:
    for each in make_sets(names=["binary", "german"]):
        for word in ("but", "not") if each.name == "binary" else ("aber", "ist"):
            assert _has(f" {word} ", each.train)
            assert _has(f" {word} ", each.exam)


def _has(phrase: str, rows: list[Row]) -> bool:
    return any(phrase in text for text, _ in rows)
