"""What exits change, by the layers that texts go through."""

import re
from pathlib import Path

from tests.support.artifacts import copy_without_exits
from training.data import Example, write_sentences
from training.evaluation.depth import depth_table

SENTENCES = [row for row in write_sentences(160, seed=5) if row.label]
ROWS = [Example(row.text, row.label, source) for row in SENTENCES for source in ("one", "two")]


def test_each_set_has_a_line_for_each_depth_and_one_for_all(with_exits: Path) -> None:
    table = depth_table(str(with_exits), ROWS)
    assert table
    header, *lines, speed = table.splitlines()
    assert header.split()[:3] == ["set", "layers", "rows"]
    cells = [line.split() for line in lines]
    for name in ("one", "two"):
        own = [row for row in cells if row[0] == name]
        assert [row[1] for row in own[-1:]] == ["all"]
        assert {row[1] for row in own[:-1]} <= {"3", "4", "6"}
        assert sum(int(row[2]) for row in own[:-1]) == int(own[-1][2]) == len(ROWS) // 2
        assert float(own[-1][6]) <= 3  # percent with another label
        deepest = next(row for row in own if row[1] == "6")
        assert deepest[4:6] == [deepest[4]] * 2, "all layers give the same answers"
    assert re.fullmatch(r"The model with exits took \d+\.\d\d of the time of all layers\.", speed)


def test_a_model_without_exits_has_no_table(tmp_path: Path) -> None:
    assert depth_table(str(copy_without_exits(tmp_path / "mine")), ROWS[:2]) is None
