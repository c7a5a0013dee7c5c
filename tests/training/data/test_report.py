"""The report on a table before training."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from app.inference.artifact import open_artifact
from app.inference.tokenizer import Tokenizer
from training.__main__ import main
from training.data import DataReport, Division, Example, LabelMap, Table, hold_out, read_table, report
from training.data.language import guess_language, guess_languages

EMBEDDED = ("negative", "neutral", "positive")


def table_of(*rows: tuple[str, str]) -> Table:
    return Table("a.csv", [Example(text, label, "a", line=line) for line, (text, label) in enumerate(rows, 2)])


def shown(result: DataReport) -> str:
    return "\n".join(result.lines())


def test_labels_are_counted_in_their_order_and_rare_ones_are_named() -> None:
    result = report(table_of(*[(f"text {n}", "5") for n in range(6)], *[(f"more {n}", "1") for n in range(2)]))
    assert result.labels == {"1": 2, "5": 6}
    assert result.few == {"1": 2}
    assert "! fewer than 5 rows: 1 (2); add rows, or map these labels to another" in result.lines()
    assert "  5        6   75.0 %" in result.lines()


def test_labels_that_look_alike_are_named_with_a_remedy() -> None:
    rows = [(f"text {n}", "Refund") for n in range(9)] + [("one", "Refnud")]
    result = report(table_of(*rows))
    assert result.near_equal == [("Refnud", "Refund")]
    assert "! 'Refnud' (1) and 'Refund' (9) look alike; if they are one label, use --map Refnud:Refund,other=keep" in (
        result.lines()
    )


def test_spellings_that_were_read_as_one_label_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,Refund\nb,Refund\nc,refund\n")
    result = report(read_table(tmp_path / "a.csv"))
    assert result.labels == {"Refund": 3}
    assert "! labels that are read in another spelling: 'refund' as 'Refund'" in result.lines()


def test_numbers_that_were_read_as_one_label_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,1\nb,1.0\nc,2.0\nd,03\n")
    result = report(read_table(tmp_path / "a.csv"))
    assert result.labels == {"1": 2, "2": 1, "03": 1}
    assert "labels that are read in another spelling: '1.0' as '1', '2.0' as '2'" in shown(result)


@pytest.mark.parametrize(("rare", "common"), [("my Refnud", "my Refund"), ("a, refnud", "a, refund")])
def test_the_remedy_can_be_pasted_into_a_shell(rare: str, common: str) -> None:
    rows = [(f"text {n}", common) for n in range(9)] + [("one", rare)]
    (line,) = (line for line in report(table_of(*rows)).lines() if "look alike" in line)
    *_, flag, mapping = shlex.split(line.rpartition(", use ")[2])
    assert flag == "--map"
    assert LabelMap.parse(mapping).rename(rare) == common


@pytest.mark.parametrize(
    ("label", "are_numbers"), [("{}.5", True), ("-0.{}", True), ("{}e-05", True), ("3,{}", True), ("kind {}", False)]
)
def test_a_column_of_numbers_needs_ranges(label: str, are_numbers: bool) -> None:
    result = report(table_of(*[(f"text {n}", label.format(n)) for n in range(40)]))
    assert "! 40 labels in 40 rows: is it the right column? see --label-column" in shown(result)
    assert ("put numbers into ranges first" in shown(result)) == are_numbers


def test_a_name_in_the_mapping_that_no_row_has_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,1\nb,5\n")
    mapping = LabelMap.parse("1:bad,5:good,9:neutral")
    table = read_table(tmp_path / "a.csv", label_map=mapping).note_unused(mapping)
    assert "  no row has the label 9, which the mapping names" in report(table).lines()


def test_what_is_measured_on_little_is_said() -> None:
    result = replace(report(table_of(("x", "a"), ("y", "b"))), division=Division(1, 1, ["b"], {"a": 3}))
    assert result.lines()[-4:] == [
        "1 row to train on, 1 to measure on",
        "! figures on 1 row say little: add rows, or cross-validate",
        "! no row to measure on, so no figures: b",
        "! all 3 rows of a to measure on contain the same text, so its figures say little",
    ]


def test_duplicates_and_contradictions_are_found_in_any_case() -> None:
    result = report(table_of(("Same", "a"), ("same", "a"), ("Both", "a"), ("both", "b"), ("BOTH", "b"), ("x", "b")))
    assert (result.duplicates, result.contradictions) == (2, [["4", "5"]])
    assert "! 2 rows repeat another row: the same text with the same label" in result.lines()
    assert "! 1 text has more than one label: line 4+5; decide on one of them" in result.lines()


def test_dropped_and_bad_rows_are_named_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nfine,a\nGone!,a\n,a\nkept,b\n")
    table = hold_out(read_table(tmp_path / "a.csv"), [Example("gone", "a", "dev")], "dev.csv")
    result = report(table)
    assert (result.read, result.used) == (4, 2)
    lines = result.lines()
    assert lines[0] == f"{tmp_path}/a.csv: 4 rows read, 2 used"
    assert "  1 row dropped: its text is in dev.csv, or contains a text of dev.csv: line 3" in lines
    assert "! 1 row cannot be used: the text has no visible character: line 4" in lines


def test_texts_that_are_cut_are_counted() -> None:
    tokenizer = Tokenizer.load(open_artifact("sentiment-en").directory, 512)
    table = table_of(("good " * 600, "a"), ("good " * 30, "a"), ("good", "b"))
    assert report(table, tokenizer=tokenizer).as_dict()["truncated"] == {"texts": 1, "of": 3, "max_tokens": 512}
    result = report(table, tokenizer=tokenizer, max_tokens=16)
    assert "! 2 of 3 texts (67 %) have more than the 16 tokens that the model is trained on" in shown(result)


@pytest.mark.parametrize("mark", [",", ";", "|", ", "])
def test_several_labels_in_one_cell_are_noticed(mark: str) -> None:
    result = report(table_of(("x", "billing"), ("y", "refund"), ("z", f"billing{mark}Refund"), ("v", "a, b")))
    assert result.lists == [f"billing{mark}Refund"]
    assert "a model gives one label to a text" in shown(result)


def test_a_column_that_is_no_label_is_noticed() -> None:
    many = report(table_of(*[(f"text {n}", f"id {n * 7919}") for n in range(60)]))
    assert "! 60 labels in 60 rows: is it the right column? see --label-column" in many.lines()
    assert "! a training needs at least two labels" in report(table_of(("x", "a"), ("y", "a"))).lines()


class TestBaseModel:
    def test_a_class_that_would_disappear_is_named_before(self) -> None:
        result = report(table_of(("a", "Positive"), ("b", "negative")), base_labels=EMBEDDED)
        assert result.disappearing == ["neutral"]
        assert "no row has the label neutral of the base model, so the new model will not have it; to keep it," in (
            shown(result)
        )

    def test_other_labels_replace_those_of_the_base_model(self) -> None:
        result = report(table_of(("a", "spam"), ("b", "ham")), base_labels=EMBEDDED)
        assert (result.disappearing, result.replaced) == ([], list(EMBEDDED))
        assert "the labels are new: they replace those of the base model (negative, neutral, positive)" in shown(result)

    def test_nothing_is_said_if_all_classes_stay(self) -> None:
        result = report(table_of(*[("a", label) for label in EMBEDDED]), base_labels=EMBEDDED)
        assert "base model" not in shown(result)


class TestLanguage:
    @pytest.mark.parametrize(
        ("text", "language"),
        [
            ("The food was great and the staff are nice", "English"),
            ("Das Essen war sehr gut und der Service auch", "German"),
            ("c'est très bon et pas cher", "French"),
            ("La comida es muy buena pero no está barata", "Spanish"),
            ("とても美味しいです", "Japanese"),
            ("服务很好", "Chinese"),
            ("Очень вкусно", "Russian or another language in Cyrillic"),
            ("reset password", None),
            ("12 34", None),
            ("", None),
        ],
    )
    def test_a_language_is_guessed_from_script_and_short_words(self, text: str, language: str | None) -> None:
        assert guess_language(text) == language

    def test_shares_are_of_texts_that_look_like_a_language(self) -> None:
        assert guess_languages(["das ist gut", "the best of it", "das war nicht gut", "ok"]) == {
            "German": 0.667,
            "English": 0.333,
        }
        assert guess_languages([]) == {}
        assert guess_languages(["reset password"] * 9 + ["the card"]) == {}
        assert "the language of the texts was not recognised" in shown(report(table_of(("reset password", "a"))))

    def test_another_language_than_english_is_said(self) -> None:
        german = [("das ist sehr gut", "a"), ("es war nicht gut", "b"), ("ich finde das nicht gut", "b")]
        assert "! most texts look German (100 %)" in shown(report(table_of(*german)))
        mixed = [*german, ("it was the best", "a"), ("c'est très bon", "a"), ("it is not for me", "b")]
        assert "! the texts seem to be in several languages: German 50 %" in shown(report(table_of(*mixed)))


class TestSteps:
    ROWS = "review,stars\n" + "".join(f"This is text {n} of them,{n % 2}\n" for n in range(40))

    def test_report_prints_and_writes_it(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "a.csv").write_text(self.ROWS)
        (tmp_path / "dev.csv").write_text("review,stars\nThis is text 3 of them,1\n")
        arguments = [str(tmp_path / "a.csv"), "--dev", str(tmp_path / "dev.csv")]
        main(["report", *arguments, "--map", "0:bad,1:good", "--json", str(tmp_path / "report.json")])
        out = capsys.readouterr().out
        assert "40 rows read, 39 used" in out
        assert "the text is in the column review" in out
        written = json.loads((tmp_path / "report.json").read_text())
        assert written["labels"] == {"bad": 20, "good": 19}
        assert written["dropped"] == {f"its text is in {arguments[2]}, or contains a text of {arguments[2]}": ["5"]}

    def test_report_ends_with_1_if_rows_are_bad(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "a.csv").write_text(self.ROWS + ",1\n")
        with pytest.raises(SystemExit) as stopped:
            main(["report", str(tmp_path / "a.csv")])
        assert stopped.value.code == 1
        assert "! 1 row cannot be used" in capsys.readouterr().out
        main(["report", str(tmp_path / "a.csv"), "--drop-bad-rows"])
        assert "1 row dropped" in capsys.readouterr().out

    def test_split_writes_two_files_that_can_be_read(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "a.csv").write_text(self.ROWS)
        main(["split", str(tmp_path / "a.csv"), "--out", str(tmp_path / "parts"), "--share", "0.25"])
        assert "30 rows in " in capsys.readouterr().out
        train, dev = (read_table(tmp_path / "parts" / f"{name}.jsonl").check() for name in ("train", "dev"))
        assert (len(train), len(dev), train.labels) == (30, 10, ("0", "1"))
        assert {row.source for row in dev} == {"a"}
        with pytest.raises(SystemExit, match="already exists"):
            main(["split", str(tmp_path / "a.csv"), "--out", str(tmp_path / "parts")])
