"""A guess of the language of texts, from their script and their most common short words.

It is for a report that says "most texts look German", and not for single texts. No library is needed for that.
"""

import re
from collections import Counter
from collections.abc import Sequence

_SAMPLE = 1000  # texts
_FEWEST = 0.2  # share of the texts that must look like a language

# Words that are frequent in one language and rare in the others.
_STOP_WORDS = {
    "English": "the and is was it this that with for not have are you my of to be but they",
    "German": "der die das und ist nicht ich ein eine mit war sehr auch auf für wie den dem es wir zu",
    "French": "le la les et est pas je une des un très avec pour dans que ce nous vous du il",
    "Spanish": "el la los las y es no una muy con para que por lo está mi del se un",
    "Italian": "il che è non una di per molto con sono della mi gli ho le questo ma un",
    "Portuguese": "o os e é não uma muito com para que do da em mas foi um você",
    "Dutch": "de het een en is niet ik van met op voor zijn maar dat te heel",
    "Swedish": "och är inte det en ett jag som på med för mycket att av den",
    "Danish": "og er ikke det en et jeg som på med for meget at af den til",
    "Polish": "i jest nie się na to w z że bardzo do jak ale już mi",
    "Czech": "a je se na to v že ale jsem velmi není jak za si byl",
    "Turkish": "ve bir bu çok için değil ama da de ile ben daha gibi var",
    "Indonesian": "yang dan di ini itu tidak untuk dengan saya ada sangat dari akan",
    "Vietnamese": "và là không của có rất tôi được này cho một với",
    "Finnish": "ja on ei se oli että en mutta hyvin tämä olen kun niin",
}
_SCRIPTS = {
    "Russian or another language in Cyrillic": "\u0400-\u04ff",
    "Greek": "\u0370-\u03ff",
    "Arabic or another language in its script": "\u0600-\u06ff",
    "Hebrew": "\u0590-\u05ff",
    "Hindi or another language in Devanagari": "\u0900-\u097f",
    "Thai": "\u0e00-\u0e7f",
    "Japanese": "\u3040-\u30ff",
    "Korean": "\uac00-\ud7af",
    "Chinese": "\u4e00-\u9fff",
}
_PATTERNS = {language: re.compile(f"[{letters}]") for language, letters in _SCRIPTS.items()}
_BY_WORD: dict[str, list[str]] = {}
for _language, _words in _STOP_WORDS.items():
    for _word in _words.split():
        _BY_WORD.setdefault(_word, []).append(_language)


def guess_language(text: str) -> str | None:
    """Return the language that a text looks like, or None if nothing speaks for one."""
    letters = max(1, sum(map(str.isalpha, text)))
    for language, pattern in _PATTERNS.items():
        # A word of Kana or Hangul decides, because Japanese and Korean also have Chinese letters.
        if len(pattern.findall(text)) >= letters * (0.1 if language in {"Japanese", "Korean"} else 0.3):
            return language
    counts: Counter[str] = Counter()
    for word in re.findall(r"\w+", text.lower()):
        languages = _BY_WORD.get(word, ())
        for language in languages:
            counts[language] += 1 / len(languages)
    if not counts:
        return None
    (best, score), *rest = counts.most_common(2)
    return best if score > (rest[0][1] if rest else 0) else None


def guess_languages(texts: Sequence[str]) -> dict[str, float]:
    """Return the share of each language among those texts of a sample that look like one, the largest first.

    Returns nothing if these are too few to say something about all texts.
    """
    sample = texts[:: max(1, len(texts) // _SAMPLE)]
    guesses = Counter(filter(None, map(guess_language, sample)))
    total = sum(guesses.values())
    if total < _FEWEST * len(sample):
        return {}
    return {language: round(count / total, 3) for language, count in guesses.most_common()}
