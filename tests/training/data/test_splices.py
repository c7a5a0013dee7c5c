"""Sentences with exchanged phrases."""

import json
from pathlib import Path

import pytest

from training.__main__ import main
from training.data.examples import read_all
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


def test_a_phrase_gives_way_to_another_that_begins_alike() -> None:
    found = make_splices(TEXTS, 4)
    assert len(set(found)) == 4
    assert not set(found) & set(TEXTS)
    possible = {
        "the music is loud but the acting is a quiet wonder from beginning to end",
        "the acting but the acting is a quiet wonder from beginning to end",
        "the plot is thin but the music is loud is a quiet wonder from beginning to end",
        "the plot is thin but the plot is thin is a quiet wonder from beginning to end",
        "the plot is thin but the acting is a tired joke from beginning to end",
    }
    assert set(found) <= possible


def test_a_seed_makes_the_same_again() -> None:
    assert make_splices(TEXTS, 3, seed=1) == make_splices(TEXTS, 3, seed=1) != make_splices(TEXTS, 3, seed=2)


@pytest.mark.parametrize("texts", [[], ["a quiet wonder", "a tired joke"], TEXTS])
def test_more_than_there_can_be_are_refused(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="make no more than"):
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


def test_a_file_that_is_there_stays_and_one_that_cannot_be_filled_is_none(tmp_path: Path) -> None:
    source, out = tmp_path / "mine.tsv", tmp_path / "more.jsonl"
    source.write_text("label\ttext\n" + "".join(f"positive\t{text}\n" for text in TEXTS))
    with pytest.raises(SystemExit, match="make no more than"):
        main(["splices", "--data", str(source), "--rows", "100", "--out", str(out)])
    assert [file.name for file in tmp_path.iterdir()] == ["mine.tsv"]
    out.write_text("years of work")
    with pytest.raises(SystemExit, match=r"more\.jsonl exists; name another"):
        main(["splices", "--data", str(source), "--rows", "3", "--out", str(out)])
    assert out.read_text() == "years of work"
