import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer as FastTokenizer

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
    assert all(memoryview(encoding.ids).itemsize == 4 for encoding in many)  # not a Python object for every token


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
