import pytest
import unicodedata2
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
        ("\ufe0f\u034f\u3164", ""),
        ("\ufdd0\U0001ffff", ""),
        ("", ""),
        # Emoji of Unicode 15 and a code point without a character
        ("see you at five \U0001fa77", "see you at five \U0001fa77"),
        ("\U0001fae9", "\U0001fae9"),
        ("\U000e1000", "\U000e1000"),
        ("\U0001f3fd", "\U0001f3fd"),
        # Apostrophes, quotation marks and hyphens
        (
            "couldn\u2019t, couldn\u2018t, couldn\u00b4t, couldn`t, couldn\u02bct, couldn\uff07t",
            ", ".join(["couldn't"] * 6),
        ),
        ("\u201cgood\u201d \u201egood\u201c \u00abgood\u00bb \u2033good\u2033", '"good" "good" "good" "good"'),
        ("\u2018good\u2019 \u201agood\u2018 \u2039good\u203a", "'good' 'good' 'good'"),
        ("well\u2010made, well\u2011made, \u22125", "well-made, well-made, -5"),
        ("the `code` is good", "the `code` is good"),
        # Markup
        ("She is brilliant.<br /><br />He is not.", "She is brilliant. He is not."),
        ("<p class='a'>Good.</p><P>Bad.<BR>Ok<br\n/></P>", "Good. Bad. Ok"),
        ('so <b>good</b>, <a href="https://example.com">see</a>', "so good , see"),
        ("<!DOCTYPE html><!-- a note --><h1>Good</h1>", "Good"),
        ("I <3 it, a < b > c, <sigh> <brilliant>", "I <3 it, a < b > c, <sigh> <brilliant>"),
        ("<i love this place> <a bit late> x<b and y>z", "<i love this place> <a bit late> x<b and y>z"),
        ("<form><title>Good</title><o:p></o:p><svg width='1'/></form>", "Good"),
        ("\u201cgood\u201d\u055a \u05f4ok\u05f4", '"good"\' "ok"'),
        ("jos\u00e9@example.com \U0001f600@friend", "jos\u00e9@example.com \U0001f600@user"),
        ("&#39;good&#x27; &amp; &nbsp;cheap &hearts; &ldquo;ok&rdquo;", "'good' & cheap \u2665 \"ok\""),
        ("&amp;amp;#39;s &amp;lt;br&amp;gt; ok", "'s ok"),
        ("R&D AT&T; this&that &nothing; &;", "R&D AT&T; this&that &nothing; &;"),
        ("&#128512; e&#769; &#8203;", "\U0001f600 \u00e9"),
        ("&#0; &#xd800; &#9999999;", "\ufffd \ufffd \ufffd"),
        ("&l&#116;&semi;br&gt;ok &amp&#59;", "ok &"),
        ("<b <b <b>>>ok<b <x>>", "ok<b <x>>"),
        ("<o:https://example.com a=b>ok", "ok"),
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
    assert normalised == normalised.strip()
    assert not normalised or any(unicodedata2.category(char) not in ("Cc", "Cf", "Cs", "Co") for char in normalised)
    assert "  " not in normalised


@given(st.text(alphabet="@https:/w. \tabc\u200b"))
def test_normalise_is_idempotent_on_links_and_mentions(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


_MARKUP = st.lists(
    st.sampled_from(
        [*"&;#lt39xX0amp<br />hg@w.:`'", "&lt;", "&#38;", "<br>", "<b", "www.", "http://", "\u00b4", "\u0301"]
    )
    | st.sampled_from(["\u200b", "\u034f", "\U0001f3fd", "\ufe0f", "\uff06", "\uff1c", "\u037e", "\ufe54", "\u2019"]),
    max_size=20,
).map("".join)


@given(_MARKUP)
def test_normalise_is_idempotent_on_markup(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.characters(categories=["Cn"]))
def test_a_code_point_without_a_character_stays(char: str) -> None:
    is_ignorable = "\U000e0000" <= char <= "\U000e0fff" or 0xFFF0 <= ord(char) <= 0xFFF8 or char == "\u2065"
    is_noncharacter = ord(char) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(char) <= 0xFDEF
    has_one_by_now = unicodedata2.category(char) != "Cn"  # the interpreter's Unicode may be older
    assert is_ignorable or is_noncharacter or has_one_by_now or normalise(f"a {char}") == f"a {char}"
