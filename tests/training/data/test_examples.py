"""Labelled text in every supported format, and errors in it."""

import re
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest

from training.data import Example, read
from training.errors import InputError


def written(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


class TestFiles:
    def test_a_directory_is_read_and_its_texts_are_normalised(self, tmp_path: Path) -> None:
        written(tmp_path / "a.tsv", 'label\ttext\npositive\tSo "good"<br />and  http://x.y @me\n')
        written(tmp_path / "b.csv", "label,text\nneutral,plain\n")
        written(tmp_path / "c.jsonl", '{"label": "negative", "text": "never"}\n\n')
        written(tmp_path / "README.md", "not data")
        assert read(tmp_path) == [
            Example('So "good" and http @user', "positive", "a"),
            Example("plain", "neutral", "b"),
            Example("never", "negative", "c"),
        ]

    def test_quotes_have_a_meaning_in_csv_and_none_in_tsv(self, tmp_path: Path) -> None:
        (row,) = read(written(tmp_path / "a.csv", 'text,label\n"One, ""two"",\nthree",positive\n'))
        assert row.text == 'One, "two", three'
        (row,) = read(written(tmp_path / "a.tsv", 'text\tlabel\n"One, ""two\tpositive\n'))
        assert row.text == '"One, ""two'

    @pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
    def test_a_byte_order_mark_is_ignored(self, tmp_path: Path, name: str) -> None:
        content = {"a.tsv": "label\ttext\nneutral\tplain\n", "a.csv": "label,text\nneutral,plain\n"}
        written(tmp_path / name, "\ufeff" + content.get(name, '{"label": "neutral", "text": "plain"}'))
        assert read(tmp_path / name) == [Example("plain", "neutral", "a")]

    def test_columns_and_labels_can_have_other_names(self, tmp_path: Path) -> None:
        written(tmp_path / "a.csv", "id,stars,my review\n7,5,Great\n8,1,Awful\n")
        rows = read(f"{tmp_path}/a.csv?text=my+review&label=stars&map=1:negative,5:positive")
        assert [(row.text, row.label) for row in rows] == [("Great", "positive"), ("Awful", "negative")]
        assert read(f"{tmp_path}/a.csv?text=my+review&label=stars", {"1": "negative", "5": "positive"}) == rows

    def test_labels_are_strings_as_they_are_written(self, tmp_path: Path) -> None:
        lines = ['{"label": 1, "text": "a"}', '{"label": 2.0, "text": "b"}', '{"label": "POS", "text": "c"}']
        rows = read(written(tmp_path / "a.jsonl", "\n".join(lines)), {"Pos": "Positive"})
        assert [row.label for row in rows] == ["1", "2", "Positive"]

    def test_source_and_scores_are_only_read_from_json_lines(self, tmp_path: Path) -> None:
        written(tmp_path / "a.csv", "text,label,source,scores\nplain,neutral,Web App,3\n")
        assert read(tmp_path / "a.csv") == [Example("plain", "neutral", "a")]

    @pytest.mark.parametrize("content", ["", "label\ttext\n"])
    def test_a_file_without_rows_is_rejected(self, tmp_path: Path, content: str) -> None:
        with pytest.raises(ValueError, match=r"a\.tsv: no rows"):
            read(written(tmp_path / "a.tsv", content))

    def test_a_file_name_can_contain_a_question_mark(self, tmp_path: Path) -> None:
        written(tmp_path / "what?.tsv", "label\ttext\nneutral\tplain\n")
        assert read(tmp_path / "what?.tsv")[0].source == "what?"

    def test_an_empty_label_option_reads_only_the_text(self, tmp_path: Path) -> None:
        written(tmp_path / "a.tsv", "text\nplain\n")
        assert read(f"{tmp_path}/a.tsv?label=") == [Example("plain", None, "a")]


class TestLabels:
    def labels(self, file: Path, *values: str, **options: Any) -> list[str | None]:
        """The labels that are read from a file with these values, as they are written in it."""
        if file.suffix == ".jsonl":
            written(file, "".join(f'{{"text": "a", "label": {value}}}\n' for value in values))
        else:
            written(file, "label,text\n" + "".join(f"{value},a\n" for value in values))
        return [row.label for row in read(file, **options)]

    @pytest.mark.parametrize(
        ("values", "label"),
        [
            (["1", "1.0", '"1"', '"1.0"', "1e0", '" 1 "', "10e-1", '"+1"', '"1."', '"1.00"'], "1"),
            (["-1", "-1.0", '"-1.00"'], "-1"),
            (["0", "-0.0", "0.0", '"0"'], "0"),
            (["0.5", "0.50", "5e-1", '"0.5"'], "0.5"),
            (["1e3", "1000", '"1000.0"'], "1000"),
            (["1e16", "10000000000000000"], "10000000000000000"),
            (["true", '"True"', '"TRUE"'], "true"),
            (
                ['"Very  good"', '"very good "', '"very\\u00a0good"', '"\\u200bvery good"', '"\\uff56ery good"'],
                "very good",
            ),
        ],
    )
    def test_values_of_the_same_label_are_one_label(self, tmp_path: Path, values: list[str], label: str) -> None:
        assert set(self.labels(tmp_path / "a.jsonl", *values)) == {label}

    def test_numbers_in_a_table_are_one_label(self, tmp_path: Path) -> None:
        assert self.labels(tmp_path / "a.csv", "1", "1.0", " 1", "1.00", "-0.0") == ["1", "1", "1", "1", "0"]

    def test_versions_are_not_numbers(self, tmp_path: Path) -> None:
        versions = ["1.1", "1.10", "1.100", "v1.0", "2.50", ".5", "1e0", "1.0.0"]
        assert self.labels(tmp_path / "a.csv", *versions) == versions
        assert self.labels(tmp_path / "a.jsonl", '"1.10"', '"1.1"', "1.10", "1.1") == ["1.10", "1.1", "1.1", "1.1"]

    def test_codes_and_long_numbers_stay_as_they_are(self, tmp_path: Path) -> None:
        codes = ["007", "7", "1_0", "10", "12345678901234567890", "12345678901234567891", "1.2.3"]
        assert self.labels(tmp_path / "a.csv", *codes) == codes

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (
                "NaN",
                "the label 'nan' stands for a missing value; if it is a class, use --map nan:other-name,other=keep",
            ),
            ("Infinity", "the label 'inf' stands for a missing value"),
            ("-Infinity", "the label '-inf' stands for a missing value"),
            ('"null"', "the label 'null' stands for a missing value"),
            ("null", "the label is empty"),
            ('["positive"]', "the label is a list; a row must have exactly one label"),
            ('{"name": "positive"}', "the label is a dict, not a name or a number"),
            ("[]", "the label is a list; a row must have exactly one label"),
            ('""', "the label is empty"),
            ('" \\u200b "', "the label is empty"),
        ],
    )
    def test_what_is_not_a_label_is_an_error_with_its_line(self, tmp_path: Path, value: str, message: str) -> None:
        with pytest.raises(ValueError, match=f"a.jsonl, line 2: {re.escape(message)}"):
            self.labels(tmp_path / "a.jsonl", '"fine"', value)

    @pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-Infinity", "NULL"])
    def test_a_missing_value_in_a_table_is_an_error(self, tmp_path: Path, value: str) -> None:
        with pytest.raises(ValueError, match=r"a\.csv, line 3: the label .* stands for a missing value"):
            self.labels(tmp_path / "a.csv", "fine", value)

    def test_any_label_can_be_translated(self, tmp_path: Path) -> None:
        mapping = {"1.0": "Good", "NaN": "Unclear", "0": "bad"}
        assert self.labels(tmp_path / "a.jsonl", "1", "NaN", '"0.0"', labels=mapping) == ["Good", "Unclear", "bad"]

    def test_a_name_of_the_model_is_kept(self, tmp_path: Path) -> None:
        assert self.labels(tmp_path / "a.csv", "1.0", "NaN", names=("1.0", "nan")) == ["1.0", "nan"]


class TestScores:
    def test_scores_replace_the_label_or_come_with_it(self, tmp_path: Path) -> None:
        lines = ['{"text": "a", "scores": {"x": 0.2, "y": 0.8}}', '{"text": "b", "label": "x", "scores": {"x": 1}}']
        first, second = read(written(tmp_path / "a.jsonl", "\n".join(lines)))
        assert (first.label, first.scores) == (None, {"x": 0.2, "y": 0.8})
        assert (second.label, second.scores) == ("x", {"x": 1})

    def test_scores_of_labels_with_the_same_name_are_added_up(self, tmp_path: Path) -> None:
        written(tmp_path / "a.jsonl", '{"text": "a", "scores": {"4": 0.25, "5": 0.5, "1": 0.25}}')
        (row,) = read(f"{tmp_path}/a.jsonl?map=4:positive,5:positive,1:negative")
        assert row.scores == {"positive": 0.75, "negative": 0.25}

    @pytest.mark.parametrize(
        ("scores", "message"),
        [
            ("[0.5, 0.5]", "must be an object"),
            ("{}", "must be an object"),
            ('{"x": 0.5, "y": 0.6}', "sum to 1.1"),
            ('{"x": 1.5, "y": -0.5}', "the score of x is not a probability"),
            ('{"x": NaN}', "the score of x is not a probability"),
            ('{"x": true}', "the score of x is not a probability"),
            ('{"z": 1.0}', "unknown label 'z'"),
        ],
    )
    def test_invalid_scores_are_rejected(self, tmp_path: Path, scores: str, message: str) -> None:
        written(tmp_path / "a.jsonl", f'{{"text": "a", "scores": {scores}}}')
        with pytest.raises(ValueError, match=f"a.jsonl, line 1: .*{message}"):
            read(tmp_path / "a.jsonl", names=("x", "y"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.tsv",
            "a\tb\tc\nx\tfine\ty\n",
            "a.tsv: no column label; the columns are a, b, c; name it with --label-column",
        ),
        (
            "a.tsv",
            "label\ta\tb\nx\tfine\ty\n",
            "a.tsv: no column text; the columns are label, a, b; name it with --text",
        ),
        ("a.tsv", "label\ttext\ttext\nx\tfine\tmore\n", "two columns have the same name: text"),
        ("a.tsv", "label\ttext\nx\tfine\nx\n", "a.tsv, line 3: 1 cells instead of 2"),
        ("a.tsv", "label\ttext\nx\tfine\tmore\n", "a.tsv, line 2: 3 cells instead of 2"),
        ("a.tsv", "label\ttext\nx\tfine\n\nx\t \u200b<br />\n", "a.tsv, line 4: the text has no visible character"),
        ("a.tsv", "label\ttext\nw\tfine\n", "a.tsv, line 2: unknown label 'w'; use x, y"),
        ("a.tsv", "label\ttext\n\tfine\n", "a.tsv, line 2: the label is empty"),
        ("a.csv", 'label,text\nx,"fine\n', "a.csv, line 2: a quote is not closed"),
        ("a.csv", 'label,text\nx,"fi"ne\n', "a.csv, line 2: "),
        ("a.jsonl", '{"label": "x", "text": "fine"}\n{"label":\n', "a.jsonl, line 2: not JSON"),
        ("a.jsonl", '["x", "fine"]\n', "a.jsonl, line 1: not a JSON object"),
        ("a.jsonl", '{"label": "x", "text": 7}\n', "a.jsonl, line 1: text is not a string"),
        ("a.jsonl", '{"label": null, "text": "fine"}\n', "a.jsonl, line 1: the label is empty"),
        ("a.txt", "fine\n", "a.txt: expected .csv, .tsv, .tab, .jsonl"),
    ],
)
def test_an_invalid_row_is_reported_with_its_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        read(written(tmp_path / name, content), names=("x", "y"))


def test_a_file_that_is_not_utf_8_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"label\ttext\nx\tcaf\xe9\n")
    with pytest.raises(
        ValueError, match=r"a\.tsv, line 2: not valid UTF-8\nhint: .*--encoding cp1252, or save it as UTF-8"
    ):
        read(tmp_path / "a.tsv")


def test_a_directory_without_data_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="or a directory of such files"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("file", "what"),
    [("model.onnx", "a model"), ("model.safetensors", "a model"), ("history.jsonl", "the directory of a training")],
)
def test_a_model_is_not_data(tmp_path: Path, file: str, what: str) -> None:
    (tmp_path / file).write_text("{}")
    (tmp_path / "golden.jsonl").write_text('{"text": "fine", "label": "positive"}\n')
    with pytest.raises(InputError, match=f"is {what}, not labelled text; name a file"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("query", "message"), [("txt=a", "unknown option txt"), ("map=positive", "expected THEIRS:OURS")]
)
def test_an_invalid_option_is_reported(tmp_path: Path, query: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(f"{tmp_path}/a.tsv?{query}")


class TestHub:
    @pytest.fixture
    def directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A dataset in the format of the hub, in a directory: Parquet files with class names."""
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        datasets.disable_progress_bars()
        classes = datasets.ClassLabel(names=["Bad", "Good"])
        features = datasets.Features({"sentence": datasets.Value("string"), "label": classes})
        rows = {"sentence": ["Loved  it", "Hated it"], "label": [1, 0]}
        out = tmp_path / "films"
        out.mkdir()
        datasets.Dataset.from_dict(rows, features).to_parquet(out / "train.parquet")
        secret = {"sentence": ["Who knows"], "label": [-1]}
        datasets.Dataset.from_dict(secret, features).to_parquet(out / "test.parquet")
        return out

    def test_a_dataset_is_read_with_its_class_names(self, directory: Path) -> None:
        assert read(f"hub:{directory}?text=sentence&map=good:positive,bad:negative") == [
            Example("Loved it", "positive", "films-train"),
            Example("Hated it", "negative", "films-train"),
        ]

    def test_unpublished_labels_are_missing(self, directory: Path) -> None:
        with pytest.raises(ValueError, match="test, row 1: the label is empty"):
            read(f"hub:{directory}?text=sentence&split=test")
        assert read(f"hub:{directory}?text=sentence&split=test&label=") == [Example("Who knows", None, "films-test")]

    def test_a_missing_package_is_reported_with_the_command(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(ValueError, match=r"pip install 'rt-sentiment\[train\]'"):
            read("hub:owner/name")
