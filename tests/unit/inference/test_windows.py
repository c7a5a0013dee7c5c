import math
import random

import pytest

from app.inference.windows import average, cut
from app.types import Prediction


def sizes(windows: list[range]) -> list[int]:
    return [len(window) for window in windows]


def check(words: list[int | None], most: int) -> list[range]:
    """What holds of every cut."""
    windows = cut(words, most)
    assert [token for window in windows for token in window] == list(range(len(words)))  # each once, in order
    assert len(windows) == math.ceil(len(words) / most)  # no fewer would do
    assert all(1 <= size <= most for size in sizes(windows))
    return windows


@pytest.mark.parametrize("most", [1, 2, 3, 7, 510])
def test_windows_cover_every_token_once_are_few_and_about_equal(most: int) -> None:
    for total in [*range(1, 60), 509, 510, 511, 1020, 1021, 9_999]:
        windows = check(list(range(total)), most)
        assert max(sizes(windows)) - min(sizes(windows)) <= 1


def test_a_cut_is_made_before_the_word_that_it_would_part() -> None:
    assert cut([0, 1, 2, 2, 2, 3], 4) == [range(2), range(2, 6)]
    assert cut([0, 1, 1, 1, 2, 2, 2, 3], 4) == [range(4), range(4, 8)]


def test_but_not_where_that_would_take_a_window_more() -> None:
    assert cut([0, 1, 1, 1, 1, 1], 4) == [range(3), range(3, 6)]  # five are left of a word, and four are the limit


def test_a_text_without_words_is_cut_all_the_same() -> None:
    assert sizes(cut([None] * 10, 4)) == [4, 3, 3]


def test_whatever_the_words_windows_cover_the_text_and_stay_within_the_limit() -> None:
    rng = random.Random(1)
    whole_words = 0
    for _ in range(2000):
        pieces = [rng.choice([1, 1, 1, 2, 3, rng.randint(1, 40)]) for _ in range(rng.randint(1, 60))]
        words: list[int | None] = [word for word, count in enumerate(pieces) for _ in range(count)]
        windows = check(words, rng.randint(1, 50))
        whole_words += sum(words[window.start] != words[window.start - 1] for window in windows[1:])
    assert whole_words > 5000


def prediction(**scores: float) -> Prediction:
    best = max(scores, key=lambda label: scores[label])
    return Prediction(best, scores[best], scores)


def test_the_scores_are_averaged_by_length() -> None:
    found = average([prediction(bad=0.9, good=0.1), prediction(bad=0.2, good=0.8)], [100, 300])
    assert found.scores == pytest.approx({"bad": 0.375, "good": 0.625})
    assert list(found.scores) == ["bad", "good"]
    assert (found.label, found.confidence) == ("good", found.scores["good"])
    assert not found.truncated


def test_the_weights_sum_to_one() -> None:
    rng = random.Random(2)
    for _ in range(200):
        low = [rng.random() for _ in range(rng.randint(1, 20))]
        lengths = [rng.randint(1, 512) for _ in low]
        found = average([prediction(a=share, b=1 - share) for share in low], lengths)
        assert sum(found.scores.values()) == pytest.approx(1, abs=1e-9)
        assert min(low) - 1e-9 <= found.scores["a"] <= max(low) + 1e-9


def test_one_window_keeps_its_scores() -> None:
    only = prediction(a=0.25, b=0.75)
    assert average([only], [8]) == only
