"""Sentences with exchanged phrases."""

import json
from pathlib import Path

import pytest

from training.__main__ import main
from training.data import read_all
from training.data.splices import make_splices

TEXTS = [
    "the plot is thin but the acting is a quiet wonder from beginning to end",
    "the plot is thin",
    "the acting",
    "the music is loud",
    "a quiet wonder",
    "a tired joke",
    "a film for nobody at all",
    "wonder",
]


def test_a_phrase_is_replaced_by_one_with_the_same_first_word() -> None:
    splices = make_splices(TEXTS, 4)
    assert len(set(splices)) == 4
    assert not set(splices) & set(TEXTS)
    possible = {
        "the music is loud but the acting is a quiet wonder from beginning to end",
        "the acting but the acting is a quiet wonder from beginning to end",
        "the plot is thin but the music is loud is a quiet wonder from beginning to end",
        "the plot is thin but the plot is thin is a quiet wonder from beginning to end",
        "the plot is thin but the acting is a tired joke from beginning to end",
    }
    assert set(splices) <= possible


def test_the_result_depends_on_the_seed_alone() -> None:
    assert make_splices(TEXTS, 3, seed=1) == make_splices(TEXTS, 3, seed=1) != make_splices(TEXTS, 3, seed=2)


@pytest.mark.parametrize("texts", [[], ["a quiet wonder", "a tired joke"], TEXTS])
def test_too_many_rows_are_rejected(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="allow no more than"):
        make_splices(texts, 100)


def test_the_command_writes_texts_for_a_teacher(tmp_path: Path) -> None:
    source = tmp_path / "mine.tsv"
    source.write_text("label\ttext\n" + "".join(f"positive\t{text}\n" for text in TEXTS))
    out = tmp_path / "more.jsonl"
    main(["splices", "--data", str(source), "--rows", "3", "--out", str(out)])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["source"] for row in rows] == ["mine_splices"] * 3
    read = read_all([f"{out}?label="])
    assert [example.label for example in read] == [None] * 3
    assert [example.source for example in read] == ["mine_splices"] * 3


def test_no_file_is_overwritten_or_left_incomplete(tmp_path: Path) -> None:
    source, out = tmp_path / "mine.tsv", tmp_path / "more.jsonl"
    source.write_text("label\ttext\n" + "".join(f"positive\t{text}\n" for text in TEXTS))
    with pytest.raises(SystemExit, match="allow no more than"):
        main(["splices", "--data", str(source), "--rows", "100", "--out", str(out)])
    assert [file.name for file in tmp_path.iterdir()] == ["mine.tsv"]
    out.write_text("years of work")
    with pytest.raises(SystemExit, match=r"more\.jsonl already exists; choose another name"):
        main(["splices", "--data", str(source), "--rows", "3", "--out", str(out)])
    assert out.read_text() == "years of work"
