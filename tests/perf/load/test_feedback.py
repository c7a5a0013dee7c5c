"""The realistic requests have the intended mix, repetition and lengths."""

from collections import Counter

import pytest

from perf.load.feedback import DISTINCT_TEXTS, Feedback


def test_requests_are_mostly_single_texts_and_popular_texts_repeat() -> None:
    source = Feedback(seed=1)
    kinds = Counter(source.request().kind for _ in range(5000))
    assert 0.8 < kinds["single"] / 5000 < 0.9
    assert 0.08 < kinds["list"] / 5000 < 0.16
    assert 0 < kinds["bad"] / 5000 < 0.04
    texts = Counter(source.texts(20_000))
    top = sum(count for _, count in texts.most_common(DISTINCT_TEXTS // 100))
    assert 0.2 < top / 20_000 < 0.6  # the share of the most frequent hundredth
    assert len(texts) > 5000
    words = sorted(len(text.split()) for text in texts)
    assert words[len(words) // 2] < 35
    assert words[-len(words) // 50] > 80


@pytest.mark.parametrize("longest", [2, 5, 16])
def test_lists_have_at_most_so_many_texts(longest: int) -> None:
    source = Feedback(1, longest)
    lists = [request.body["texts"] for request in (source.request() for _ in range(3000)) if request.kind == "list"]
    assert {len(texts) for texts in lists} == set(range(2, longest + 1))


def test_equal_seeds_give_equal_requests() -> None:
    one, two = Feedback(seed=3), Feedback(seed=3)
    assert [one.request() for _ in range(50)] == [two.request() for _ in range(50)]
    assert one.request() != Feedback(seed=4).request()
