import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, normalizers

from app.errors import ArtifactError
from app.inference.model import Model
from app.inference.tokenizer import Tokenizer
from tests.support.texts import BLAME, PRAISE


def test_the_number_of_tokens_includes_the_special_ones(embedded: Model) -> None:
    encoding = embedded.tokenizer.encode("a good film")
    assert len(encoding) == 5
    assert not encoding.truncated


def test_a_text_over_the_limit_is_truncated_and_marked(embedded: Model) -> None:
    tokenizer = Tokenizer.load(embedded.artifact.directory, max_tokens=6)
    exact, over = tokenizer.encode("one two three four"), tokenizer.encode("one two three four five")
    assert (len(exact), exact.truncated) == (6, False)
    assert (len(over), over.truncated) == (6, True)
    assert over.ids[0] == exact.ids[0]
    assert over.ids[-1] == exact.ids[-1]


def test_encode_many_equals_encode_for_each_text(embedded: Model) -> None:
    texts = ["Great!", "word " * 600, "a, b; c"]
    many = embedded.tokenizer.encode_many(texts)
    assert many == [embedded.tokenizer.encode(text) for text in texts]
    assert [encoding.truncated for encoding in many] == [False, True, False]
    assert all(memoryview(encoding.ids).itemsize == 2 for encoding in many)  # not a Python object for every token


def test_short_texts_never_wait_for_the_threads_of_the_library(embedded: Model) -> None:
    """The event loop tokenises them, and long texts of others may keep these threads busy for seconds."""
    tokenizer = Tokenizer.load(embedded.artifact.directory, max_tokens=6)
    texts = ["Great!", "one two three four five six"]
    many, windows = tokenizer.encode_many(texts), tokenizer.encode_windows(texts)
    tokenizer._tokenizer = Mock(encode=tokenizer._tokenizer.encode)
    tokenizer._tokenizer.encode_batch.side_effect = tokenizer._tokenizer.encode_batch_fast.side_effect = AssertionError
    assert tokenizer.encode_many(texts, here=True) == many
    assert tokenizer.encode_windows(texts, here=True) == windows


def test_the_interpreter_lock_is_released_for_one_long_text_too(embedded: Model) -> None:
    tokenizer = Tokenizer.load(embedded.artifact.directory, max_tokens=6)
    batches = Mock(encode_batch_fast=tokenizer._tokenizer.encode_batch_fast)  # which releases it
    batches.encode.side_effect = AssertionError
    tokenizer._tokenizer = batches
    assert [len(encoding) for encoding in tokenizer.encode_many(["word " * 600])] == [6]


def test_words_outside_the_vocabulary_are_spelled_in_pieces(embedded: Model) -> None:
    """The embedded vocabulary was trimmed, but it still has all single characters."""
    unknown = embedded.tokenizer.encode("\u4e0d\U0001f600").ids[1]
    for word in ("antidisestablishmentarianism", "Gryffindor", "zxqj", "1234567890", "naïve", "don't!?"):
        assert unknown not in embedded.tokenizer.encode(word).ids


def test_a_tokenizer_can_be_a_list_of_word_pieces(tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "##s", "Good"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces))
    assert list(Tokenizer.load(tmp_path, 16).encode("Good films").ids) == [2, 5, 6, 7, 3]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    assert list(Tokenizer.load(tmp_path, 16).encode("Good films").ids) == [2, 8, 6, 7, 3]


class TestWordPieces:
    """A tokenizer from vocab.txt, compared with transformers' own reading of the same files."""

    PIECES = (
        "[PAD] [UNK] [CLS] [SEP] [MASK] a good Good film ##s cafe café naive naïve 字 漢 漢字 new ##tok newt ##ok "
        "< > ent ! ' t don"
    ).split()  # fmt: skip
    TEXTS = (
        "Good GOOD good films", "café CAFÉ cafe\u0301 naïve", "漢字 a漢字good", "a <ent>good <ENT> film",
        "newtok NewTok newtoks", "[MASK] good[SEP] [x]y", "Don't!!", "\u2764 good \U0001fa77", "good " * 30, "",
    )  # fmt: skip

    def write(self, directory: Path, *, legacy: bool = False, **options: Any) -> Path:
        """Write the files of a slow tokenizer, as transformers does now or, with `legacy`, as it did before 4.34."""
        from transformers import BertTokenizer  # takes seconds, and only some processes need it

        added, special = options.pop("added", []), options.pop("special", [])
        (directory / "vocab.txt").write_text("\n".join(options.pop("pieces", self.PIECES)) + "\n", encoding="utf-8")
        tokenizer = BertTokenizer(str(directory / "vocab.txt"), **options)
        tokenizer.add_tokens(added)
        tokenizer.add_special_tokens({"additional_special_tokens": special})
        tokenizer.save_pretrained(directory)
        if legacy:
            config = {key: value for key, value in options.items() if not key.endswith("_token")}
            (directory / "tokenizer_config.json").write_text(json.dumps(config))
        return directory

    @pytest.mark.parametrize("legacy", [False, True])
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"do_lower_case": False},
            {"strip_accents": False},
            {"do_lower_case": False, "strip_accents": True},
            {"tokenize_chinese_chars": False},
            {"added": ["newtok", "<ent>"]},
            {"special": ["<ent>", "[x]"], "added": ["NewTok"], "do_lower_case": False},
        ],
    )
    def test_they_are_those_of_transformers(self, tmp_path: Path, options: dict[str, Any], legacy: bool) -> None:
        self.write(tmp_path, legacy=legacy, **options)
        (tmp_path / "config.json").write_text('{"model_type": "bert"}')
        from transformers import AutoTokenizer

        reference, tokenizer = AutoTokenizer.from_pretrained(tmp_path), Tokenizer.load(tmp_path, 16)
        assert not (tmp_path / "tokenizer.json").exists()
        for text in self.TEXTS:
            assert list(tokenizer.encode(text).ids) == reference(text, truncation=True, max_length=16)["input_ids"]

    @pytest.mark.parametrize("legacy", [False, True])
    def test_special_tokens_can_have_other_names(self, tmp_path: Path, legacy: bool) -> None:
        names = {
            "cls_token": "<s>",
            "sep_token": "</s>",
            "unk_token": "<unk>",
            "pad_token": "<pad>",
            "mask_token": "<m>",
        }
        pieces = ["<pad>", "<unk>", "<s>", "</s>", "<m>", *self.PIECES[5:]]
        self.write(tmp_path, pieces=pieces, legacy=legacy, **names)
        assert list(Tokenizer.load(tmp_path, 16).encode("good <m> zzz").ids) == [2, 6, 4, 1, 3]

    def test_an_added_token_after_a_gap_is_refused(self, tmp_path: Path) -> None:
        self.write(tmp_path, legacy=True)
        (tmp_path / "added_tokens.json").write_text('{"newtok": 1000}')
        with pytest.raises(ArtifactError, match="the added token newtok has the id 1000, which leaves a gap"):
            Tokenizer.load(tmp_path, 16)

    @pytest.mark.parametrize(
        ("file", "content", "message"),
        [
            ("tokenizer_config.json", {"tokenizer_class": "BertJapaneseTokenizer"}, "is BertJapaneseTokenizer"),
            ("tokenizer_config.json", {"tokenizer_class": "MPNetTokenizerFast"}, "is MPNetTokenizerFast"),
            ("tokenizer_config.json", {"never_split": ["good"]}, "never_split"),
            ("tokenizer_config.json", {"do_basic_tokenize": False}, "do_basic_tokenize"),
            ("config.json", {"tokenizer_class": "EsmTokenizer"}, "is EsmTokenizer"),
            ("config.json", {"model_type": "esm"}, "model type esm is not BERT's"),
            ("tokenizer_config.json", {"cls_token": "<s>"}, r"vocab\.txt has no <s>"),
        ],
    )
    def test_a_tokenizer_without_a_fast_form_is_refused(
        self, tmp_path: Path, file: str, content: dict[str, Any], message: str
    ) -> None:
        (tmp_path / "vocab.txt").write_text("\n".join(self.PIECES))
        (tmp_path / file).write_text(json.dumps(content))
        with pytest.raises(ArtifactError, match=message):
            Tokenizer.load(tmp_path, 16)

    @pytest.mark.parametrize(("name", "expected"), [("BertTokenizer", "good"), ("PreTrainedTokenizerFast", "[UNK]")])
    def test_options_have_precedence_over_the_file_as_in_transformers(
        self, tmp_path: Path, name: str, expected: str
    ) -> None:
        vocabulary = {piece: index for index, piece in enumerate(self.PIECES)}
        tokenizer = FastTokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        config = {"tokenizer_class": name, "do_lower_case": True}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        from transformers import AutoTokenizer

        reference = AutoTokenizer.from_pretrained(tmp_path)("GOOD", add_special_tokens=False)["input_ids"]
        assert list(Tokenizer.load(tmp_path, 16).encode("GOOD").ids) == reference == [vocabulary[expected]]


def test_the_error_names_a_missing_or_broken_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no tokenizer\.json"):
        Tokenizer.load(tmp_path, 16)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ArtifactError, match="cannot be read"):
        Tokenizer.load(tmp_path, 16)


class TestWindows:
    @pytest.mark.parametrize("text", [PRAISE * 40 + BLAME * 120, "\u4e0d" * 3000, "unbelievably " * 700, "!" * 4000])
    def test_windows_hold_the_whole_text_and_the_special_tokens(self, embedded: Model, text: str) -> None:
        first, last = embedded.tokenizer.encode("").ids
        windows, short = embedded.tokenizer.encode_windows([text, "short"])
        assert short == [embedded.tokenizer.encode("short")]
        tokens = tokens_without_truncation(embedded, text)
        assert [token for window in windows for token in window.ids[1:-1]] == tokens
        assert {(window.ids[0], window.ids[-1]) for window in windows} == {(first, last)}
        assert len(windows) == -(-len(tokens) // 510)
        assert max(map(len, windows)) <= 512
        assert not any(window.truncated for window in windows)

    def test_no_window_starts_inside_a_word(self, embedded: Model) -> None:
        pieces = FastTokenizer.from_file(str(embedded.artifact.directory / "tokenizer.json"))
        (windows,) = embedded.tokenizer.encode_windows(["an antidisestablishmentarianism " * 500])
        assert len(windows) > 5
        assert {pieces.id_to_token(window.ids[1]) for window in windows} <= {"an", "anti"}


def tokens_without_truncation(model: Model, text: str) -> list[int]:
    """Every token of a text, without the special ones."""
    tokenizer = FastTokenizer.from_file(str(model.artifact.directory / "tokenizer.json"))
    tokenizer.no_truncation()
    return list(tokenizer.encode(text, add_special_tokens=False).ids)
