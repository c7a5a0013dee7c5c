import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference.text import normalise


@pytest.mark.parametrize(
    ("given_text", "normalised"),
    [
        ("Good.", "Good."),
        ("  two\t words \n\n and\r\nmore ", "two words and more"),
        ("\uff37\uff29\uff24\uff25 \ufb01ne", "WIDE fine"),
        ("cafe\u0301", "caf\u00e9"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("bell\x07 and\x00 null", "bell and null"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("see https://example.com/a?b=c now", "see http now"),
        ("see WWW.example.com now", "see http now"),
        ("thanks @some_one!", "thanks @user!"),
        ("mail me@example.com", "mail me@example.com"),
        ("so 😀 happy", "so 😀 happy"),
        ("one \U0001f44d, one \U0001f44d\U0001f3ff, one \u2764\ufe0f", "one \U0001f44d, one \U0001f44d, one \u2764"),
        ("\u200b \n", ""),
        ("", ""),
    ],
)
def test_normalise_brings_a_text_to_its_canonical_form(given_text: str, normalised: str) -> None:
    assert normalise(given_text) == normalised


@given(st.text())
def test_normalise_is_idempotent(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text())
def test_normalised_text_is_empty_or_visible(text: str) -> None:
    normalised = normalise(text)
    assert normalised == "" or (normalised.strip() == normalised and normalised.isprintable() and normalised.split())


@given(st.text(alphabet="@https:/w. \tabc\u200b"))
def test_normalise_is_idempotent_on_links_and_mentions(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
