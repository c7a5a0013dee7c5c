import random

import pytest

from app.inference.artifact import open_artifact
from app.inference.tokenizer import Tokenizer
from training.data.passages import detokenise, split_passages


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(open_artifact("sentiment-en").directory, max_tokens=10**6)


@pytest.mark.parametrize(
    ("penn", "plain"),
    [
        ("it is n't bad , not at all .", "it isn't bad, not at all."),
        ("we did n't laugh ( not once ) .", "we didn't laugh (not once)."),
        ("`` a gem '' , she said", '"a gem", she said'),
        ("-lrb- the -rrb- film that 'll do", "(the) film that'll do"),
        ("It isn't bad, not at all.", "It isn't bad, not at all."),
        ("so :) happy :-)", "so :) happy :-)"),
        ('They said "yes" and "no" to it.', 'They said "yes" and "no" to it.'),
        ('I read "Emma" twice, then "Persuasion" again.', 'I read "Emma" twice, then "Persuasion" again.'),
    ],
)
def test_penn_tokens_become_ordinary_spelling(penn: str, plain: str) -> None:
    assert detokenise(penn) == plain


def test_a_short_text_is_one_passage(tokenizer: Tokenizer) -> None:
    assert split_passages("One. Two! Three?", tokenizer, random.Random(0)) == ["One. Two! Three?"]


def test_passages_of_whole_sentences_cover_a_long_text(tokenizer: Tokenizer) -> None:
    text = " ".join(f"This is sentence number {index} of a long review." for index in range(60))
    result = split_passages(text, tokenizer, random.Random(0))
    assert " ".join(result) == text
    assert len(result) > 5
    assert all(len(tokenizer.encode(passage)) - 2 <= 94 for passage in result)
    sentences = [passage.count("sentence number") for passage in result]
    assert 0.3 < sentences.count(1) / len(sentences) < 0.8
    assert len(set(sentences)) > 3


def test_a_very_long_sentence_is_split_between_words(tokenizer: Tokenizer) -> None:
    text = f"Short one. {'unpunctuated ' * 200}end. Another one."
    result = split_passages(text, tokenizer, random.Random(0))
    assert " ".join(result) == text
    assert all(len(tokenizer.encode(passage)) - 2 <= 94 for passage in result)


def test_a_very_long_word_is_not_split(tokenizer: Tokenizer) -> None:
    endless = "ha-" * 100
    result = split_passages(f"So funny! {endless} {'more ' * 100}", tokenizer, random.Random(0))
    assert sum(endless in passage for passage in result) == 1
