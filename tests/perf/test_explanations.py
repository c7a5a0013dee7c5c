"""How `perf.explanations` compares weights. The comparison itself needs shap, which it installs."""

import math
from pathlib import Path

import pytest

from perf.explanations import rank_correlation, ranks, read_texts, variant


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert ranks([0.5, -1.0, 0.5, 2.0]) == [1.5, 0, 1.5, 3]


def test_only_the_order_of_weights_counts() -> None:
    assert rank_correlation([1, 2, 3], [0.1, 5, 90]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3, 4], [2, 1, 4, 3]) == pytest.approx(0.6)
    assert rank_correlation([1, 1], [1, 2]) == 0
    assert not math.isnan(rank_correlation([0.0], [0.0]))


def test_a_variant_lacks_the_words_that_are_not_present() -> None:
    assert variant("Not bad, at all!", [(0, 3), (4, 7), (9, 11), (12, 15)], "0110") == " bad, at !"
    assert variant("So", [(0, 2)], "0") == "."


def test_texts_come_from_all_files_alike(tmp_path: Path) -> None:
    table, plain = tmp_path / "dev.tsv", tmp_path / "texts"
    table.write_text("label\ttext\n" + "".join(f"positive\tit is good {n}\n" for n in range(20)) + "neutral\tshort\n")
    plain.write_text("".join(f"no label here {n}\n" for n in range(20)))
    texts = read_texts([table, plain], 10)
    assert len(texts) == len(set(texts)) == 10
    assert sum(text.startswith("it is good") for text in texts) == 5
    assert read_texts([table, plain], 10) == texts
