import math
import random

import pytest

from app.inference.windows import average, cut
from app.types import Prediction


def sizes(windows: list[range]) -> list[int]:
    return [len(window) for window in windows]


def check(words: list[int | None], most: int) -> list[range]:
    """Cut, and check what every cut must satisfy."""
    windows = cut(words, most)
    assert [token for window in windows for token in window] == list(range(len(words)))  # each token once, in order
    assert len(windows) == math.ceil(len(words) / most)  # the lowest possible number
    assert all(1 <= size <= most for size in sizes(windows))
    return windows


@pytest.mark.parametrize("most", [1, 2, 3, 7, 510])
def test_windows_cover_every_token_and_have_about_equal_sizes(most: int) -> None:
    for total in [*range(1, 60), 509, 510, 511, 1020, 1021, 9_999]:
        windows = check(list(range(total)), most)
        assert max(sizes(windows)) - min(sizes(windows)) <= 1


def test_a_cut_is_moved_to_the_start_of_a_word() -> None:
    assert cut([0, 1, 2, 2, 2, 3], 4) == [range(2), range(2, 6)]
    assert cut([0, 1, 1, 1, 2, 2, 2, 3], 4) == [range(4), range(4, 8)]


def test_a_word_is_split_if_whole_words_would_need_another_window() -> None:
    assert cut([0, 1, 1, 1, 1, 1], 4) == [range(3), range(3, 6)]  # the word has five tokens, and the limit is four


def test_a_text_without_words_is_cut_anywhere() -> None:
    assert sizes(cut([None] * 10, 4)) == [4, 3, 3]


def test_windows_of_random_words_cover_the_text_within_the_limit() -> None:
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
    averaged = average([prediction(bad=0.9, good=0.1), prediction(bad=0.2, good=0.8)], [100, 300])
    assert averaged.scores == pytest.approx({"bad": 0.375, "good": 0.625})
    assert list(averaged.scores) == ["bad", "good"]
    assert (averaged.label, averaged.confidence) == ("good", averaged.scores["good"])
    assert not averaged.truncated


def test_averaged_scores_sum_to_one() -> None:
    rng = random.Random(2)
    for _ in range(200):
        shares = [rng.random() for _ in range(rng.randint(1, 20))]
        lengths = [rng.randint(1, 512) for _ in shares]
        averaged = average([prediction(a=share, b=1 - share) for share in shares], lengths)
        assert sum(averaged.scores.values()) == pytest.approx(1, abs=1e-9)
        assert min(shares) - 1e-9 <= averaged.scores["a"] <= max(shares) + 1e-9


def test_a_single_window_keeps_its_scores() -> None:
    only = prediction(a=0.25, b=0.75)
    assert average([only], [8]) == only
