"""Files as they come: layouts that are guessed, and all bad rows in one message."""

import csv
import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.data import LabelMap, read_all, read_table
from training.errors import InputError


def written(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_text(content, encoding=encoding)
    return path


class TestGuesses:
    @pytest.mark.parametrize(
        ("header", "text", "label"),
        [
            ("text,label", "text", "label"),
            ("id,review,stars", "review", "stars"),
            ("Sentence,Sentiment,split", "Sentence", "Sentiment"),
            ("text,kind", "text", "kind"),
            ("what,label", "what", "label"),
            ("title,text,rating", "text", "rating"),
        ],
    )
    def test_columns_are_guessed_if_only_one_guess_is_possible(
        self, tmp_path: Path, header: str, text: str, label: str
    ) -> None:
        names = header.split(",")
        cells = [{text: "fine", label: "good"}.get(name, "0") for name in names]
        table = read_table(written(tmp_path / "a.csv", f"{header}\n{','.join(cells)}\n")).check()
        assert [(row.text, row.label, row.line) for row in table] == [("fine", "good", 2)]
        said = {note.rsplit(" ", 1)[1] for note in table.notes}
        assert said == {text, label} - {"text", "label"}

    @pytest.mark.parametrize(
        ("header", "complaint"),
        [
            ("text,stars,sentiment", "no column label; the columns are text, stars, sentiment; name it with --label"),
            ("label,review,comment", "no column text; the columns are label, review, comment; name it with --text"),
            ("a,b", "no column label; .* or add a header if the first line is a row"),
            ("label,text,text", "two columns have the same name: text"),
        ],
    )
    def test_several_possible_columns_are_a_question(self, tmp_path: Path, header: str, complaint: str) -> None:
        with pytest.raises(InputError, match=f"a.csv: {complaint}"):
            read_table(written(tmp_path / "a.csv", f"{header}\n" + ",".join("x" for _ in header.split(","))))

    def test_a_column_can_be_named_or_numbered(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", "a,b,c\n1,fine,x\n")
        for text, label in (("b", "c"), ("2", "3")):
            (row,) = read_table(file, text_column=text, label_column=label)
            assert (row.text, row.label) == ("fine", "x")
        with pytest.raises(InputError, match=r"no column B; the columns are a, b, c; do you mean b\?"):
            read_table(file, text_column="B", label_column="c")
        with pytest.raises(InputError, match="text and label cannot both be in the column b"):
            read_table(file, text_column="b", label_column="2")

    def test_a_first_line_that_is_a_text_is_not_shown(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", "I paid far too much for this awful room,negative\nfine,positive\n")
        with pytest.raises(InputError, match="does not look like names of columns; add one") as caught:
            read_table(file)
        assert "awful" not in str(caught.value)

    @pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
    def test_another_separator_is_found(self, tmp_path: Path, mark: str, name: str) -> None:
        file = written(tmp_path / "a.csv", f"review{mark}stars\nGood, really{mark}5\n")
        table = read_table(file).check()
        assert [(row.text, row.label) for row in table] == [("Good, really", "5")]
        assert f"columns are separated by {name}" in table.notes

    def test_a_wrong_separator_is_named(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", "review;stars\nGood;5\n")
        with pytest.raises(InputError, match=r"no column review; the columns are review;stars; .*--delimiter ';'"):
            read_table(file, delimiter=",", text_column="review")

    def test_a_tsv_that_pandas_wrote_is_read_with_quotes(self, tmp_path: Path) -> None:
        rows = [("text", "label"), ('He said "hi".', "a"), ("two\nlines", "b"), ("a\ttab", "a"), ("plain", "b")]
        with (tmp_path / "a.tsv").open("w", newline="") as stream:
            csv.writer(stream, delimiter="\t").writerows(rows)
        table = read_table(tmp_path / "a.tsv").check()
        assert [row.text for row in table] == ['He said "hi".', "two lines", "a tab", "plain"]
        assert [row.line for row in table] == [2, 3, 5, 6]
        assert "cells are in quotes" in table.notes

    @pytest.mark.parametrize("delimiter", [None, "\t"])
    def test_a_tsv_with_quotes_around_every_cell_is_read_with_quotes(
        self, tmp_path: Path, delimiter: str | None
    ) -> None:
        file = written(tmp_path / "a.tsv", '"review"\t"stars"\n"fine"\t"5"\n"bad"\t"1"\n')
        table = read_table(file, text_column="review", label_column="stars", delimiter=delimiter).check()
        assert [(row.text, row.label) for row in table] == [("fine", "5"), ("bad", "1")]
        assert "cells are in quotes" in table.notes
        plain = read_table(file, text_column="1", label_column="2", quotes=False).check()
        assert [row.text for row in plain] == ['"fine"', '"bad"']

    def test_a_header_alone_does_not_show_that_cells_have_quotes(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.tsv", '"text"\t"label"\n"Great" they said\tpos\n')
        (row,) = read_table(file, text_column="1", label_column="2").check()
        assert row.text == '"Great" they said'

    def test_a_tsv_with_ordinary_quotes_is_read_as_it_is(self, tmp_path: Path) -> None:
        texts = ['"Great" they said', '"One, ""two', '"whole"']
        file = written(tmp_path / "a.tsv", "text\tlabel\n" + "".join(f"{text}\ta\n" for text in texts))
        assert [row.text for row in read_table(file).check()] == texts

    def test_utf_16_without_a_mark_is_recognised(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", "text,label\nfine,a\n", "utf-16-le")
        with pytest.raises(InputError, match="looks like UTF-16; use --encoding utf-16-le"):
            read_table(file)
        assert [row.text for row in read_table(file, encoding="utf-16-le").check()] == ["fine"]

    def test_files_can_be_compressed_or_parquet(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"review,stars\nfine,5\n"))
        pq.write_table(pa.table({"stars": [5.0, None], "review": ["fine", "bad"]}), tmp_path / "b.parquet")
        compressed, parquet = read_table(tmp_path / "a.csv.gz"), read_table(tmp_path / "b.parquet")
        assert [(row.text, row.label, row.source) for row in compressed] == [("fine", "5", "a")]
        assert [(row.text, row.label, row.source) for row in parquet] == [("fine", "5", "b")]
        with pytest.raises(InputError, match=r"b\.parquet, row 2: the label is empty"):
            parquet.check()

    @pytest.mark.parametrize(
        ("name", "advice"),
        [("a.json", "one JSON object per line"), ("a.xlsx", "save the sheet as CSV"), ("a.doc", "expected .csv")],
    )
    def test_other_kinds_of_files_get_advice(self, tmp_path: Path, name: str, advice: str) -> None:
        with pytest.raises(InputError, match=advice):
            read_table(written(tmp_path / name, "x"))
        with pytest.raises(InputError, match=r"gone\.csv: no such file"):
            read_table(tmp_path / "gone.csv")
        with pytest.raises(InputError, match="is a folder; name a file"):
            read_table(tmp_path)


class TestBadRows:
    def test_all_of_them_are_in_one_message(self, tmp_path: Path) -> None:
        lines = ['{"text": "a", "label": "x"}', '{"text": "b", "label": ["x", "y"]}', '{"text": "c", "label": NaN}',
                 '{"text": "d"}', '{"text": 5, "label": "x"}', "{", '{"text": "e", "label": ["x"]}']  # fmt: skip
        table = read_table(written(tmp_path / "a.jsonl", "\n".join(lines)))
        with pytest.raises(InputError) as caught:
            table.check()
        assert str(caught.value).splitlines() == [
            f"{tmp_path}/a.jsonl: 6 of 7 rows cannot be used",
            "  line 2, 7: the label is a list; a row must have exactly one label",
            "  line 3: the label 'nan' stands for a missing value; if it is a class, "
            "use --map nan:other-name,other=keep",
            "  line 4: no column label; the columns are text",
            "  line 5: text is not a string",
            "  line 6: not JSON",
        ]

    def test_many_lines_are_cut(self, tmp_path: Path) -> None:
        table = read_table(written(tmp_path / "a.csv", "text,label\n" + "x,\n" * 30 + "x,y\n"))
        with pytest.raises(InputError, match=r"line 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 20 more: the label is empty"):
            table.check()

    def test_they_can_be_dropped_and_are_still_named(self, tmp_path: Path) -> None:
        table = read_table(written(tmp_path / "a.csv", "text,label\nx,\nfine,good\n,good\n")).drop_bad().check()
        assert [row.text for row in table] == ["fine"]
        assert [(each.line, each.reason) for each in table.dropped] == [
            (2, "the label is empty"),
            (4, "the text has no visible character"),
        ]
        assert table.read == 3

    @pytest.mark.parametrize(
        ("name", "content", "hint"),
        [
            ("a.csv", "text,label\nNice, really,a\nok,b\n", "separated by commas here, .* needs quotes around it"),
            ("a.csv", 'text,label\n"Nice" film,a\nok,b\n', "use --no-quotes"),
            ("a.csv", 'text,label\n"Nice" film,a\n"ok, fine",b\n', "the quotes look wrong"),
            (
                "a.jsonl",
                '[{"text": "a", "label": "x"},\n{"text": "b", "label": "y"}]\n',
                "one JSON document; write one object per",
            ),
            ("a.jsonl", '{\n "text": "a", "label": "x"\n}\n', "one JSON document"),
            ("a.tsv", 'text\tlabel\n"two\nlines"\ta\n"x" y\tb\n', "the quotes look wrong"),
        ],
    )
    def test_a_hint_says_what_looks_wrong(self, tmp_path: Path, name: str, content: str, hint: str) -> None:
        with pytest.raises(InputError, match=rf"\nhint: .*{hint}"):
            read_table(written(tmp_path / name, content)).check()

    def test_another_encoding_is_suggested_and_works(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", "text,label\nschön,a\nok,b\n", "cp1252")
        with pytest.raises(InputError, match=r"line 2: not valid UTF-8\nhint: .*--encoding cp1252"):
            read_table(file).check()
        assert [row.text for row in read_table(file, encoding="cp1252").check()] == ["schön", "ok"]

    def test_no_text_is_in_the_message(self, tmp_path: Path) -> None:
        content = 'text,label\n"secret" a,x\nsecret,with,commas\nsecret,\n'
        with pytest.raises(InputError) as caught:
            read_table(written(tmp_path / "a.csv", content)).check()
        assert "secret" not in str(caught.value)


class TestMapping:
    STARS = "text,stars\na,1\nb,2\nc,5\nd,5.0\n"

    def test_a_label_that_it_does_not_list_is_an_error(self, tmp_path: Path) -> None:
        file = written(tmp_path / "a.csv", self.STARS)
        with pytest.raises(InputError, match=r"does not say what happens to 2 \(1 rows\); add them, or other=keep"):
            read_table(file, label_map=LabelMap.parse("1:negative,5:positive"))
        with pytest.raises(InputError, match="does not say what happens to 2"):
            read_all([f"{file}?map=1:negative,5:positive"])

    @pytest.mark.parametrize(
        ("other", "labels"),
        [
            ("keep", ["negative", "2", "positive", "positive"]),
            ("drop", ["negative", "positive", "positive"]),
            ("neutral", ["negative", "neutral", "positive", "positive"]),
        ],
    )
    def test_other_says_what_happens_with_the_rest(self, tmp_path: Path, other: str, labels: list[str]) -> None:
        file = written(tmp_path / "a.csv", self.STARS)
        for query in (f"map=1:negative,5:positive,other={other}", f"map=1:negative,5:positive&other={other}"):
            assert [row.label for row in read_all([f"{file}?label=stars&{query}"])] == labels

    def test_dropped_rows_are_named(self, tmp_path: Path) -> None:
        mapping = LabelMap.parse("1:negative,5:positive,other=drop")
        table = read_table(written(tmp_path / "a.csv", self.STARS), label_map=mapping)
        assert [(each.line, each.reason) for each in table.dropped] == [(3, "its label 2 is not used (other=drop)")]


def test_labels_stay_as_written_in_all_files(tmp_path: Path) -> None:
    one = written(tmp_path / "a.csv", "text,label\na,Refund\nb,Refund\nc,Late Delivery\n")
    two = written(tmp_path / "b.csv", "text,label\nd,refund \ne,late  delivery\nf,1.0\n")
    rows = read_all([one, two])
    assert [row.label for row in rows] == ["Refund", "Refund", "Late Delivery", "Refund", "Late Delivery", "1"]
