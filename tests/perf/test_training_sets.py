"""The sets that the choice of settings is judged on."""

from perf.training.sets import make_sets


def test_the_six_sets_are_those_of_the_seed() -> None:
    sets = make_sets()
    assert sets == make_sets()
    assert sets != make_sets(seed=2)
    shapes = {each.name: (len(each.train), len({label for _, label in each.train})) for each in sets}
    assert shapes == {
        "binary": (400, 2),
        "stars": (500, 5),
        "intents": (600, 12),
        "topics": (800, 40),
        "german": (400, 3),
        "few": (90, 3),
    }


def test_no_text_of_an_exam_is_trained_on() -> None:
    for each in make_sets():
        train, exam = ({text for text, _ in rows} for rows in (each.train, each.exam))
        assert (len(train), len(exam)) == (len(each.train), 300)
        assert not train & exam
        assert {label for _, label in each.exam} <= {label for _, label in each.train}
