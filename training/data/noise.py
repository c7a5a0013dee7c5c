"""Noise as in text that people type: case, punctuation, typos, apostrophes, stretched words, hashtags."""

import random
import re
from collections.abc import Callable

_NEIGHBOURS = dict(
    zip(
        "qwertyuiopasdfghjklzxcvbnm",
        "wa qes wrd etf ryg tuh yij uok ipl ol qsz awd sef drg fth gyj huk jil kop asx zsc xdv cfb vgn bhm njk".split(),
        strict=True,
    )
)
_CONTRACTIONS = {
    "can't": "cannot",
    "won't": "will not",
    "shan't": "shall not",
    "I'm": "I am",
    "it's": "it is",
    "I'd": "I would",
    "I'll": "I will",
    "I've": "I have",
    "we've": "we have",
    "they're": "they are",
    "we're": "we are",
    "n't": " not",
}
# Contractions that cannot be expanded: "isn't it" would become "is not it", and "it's been" would become "it is been".
_INVERTED = re.compile(r"n't (?:I|you|he|she|it|we|they|this|that|the|my|anyone|everyone|people)\b")
_HAS = re.compile(r"\b(?:it's|I'd) (?:been|got|had|never|always|only|just|not|\w+ed|\w+en|better)\b", re.IGNORECASE)
_STRETCH = re.compile(r"\b(so|very|really|love|loved|good|great|bad|nice|hate|worst|best|awful|thanks)\b")
_TAGS = {
    "film": "movies cinema filmclub movienight",
    "book": "books reading bookclub amreading",
    "music": "music newmusic vinyl livemusic",
    "game": "gaming videogames gamers",
    "phone": "smartphone mobile tech",
    "app": "apps software tech",
    "restaurant": "food dinner foodie eatingout",
    "hotel": "hotel travel citybreak",
    "airline": "flying travel airport",
    "car": "cars driving motoring",
    "course": "learning students class",
}
_ANY_TAGS = "today monday weekend tuesday life review thoughts"


def noisy(text: str, domain: str, rng: random.Random) -> tuple[str, str]:
    """Return `text` with one kind of noise, and the name of that kind."""
    kinds: dict[str, Callable[[], str]] = {
        "lower": text.lower,
        "no_stop": lambda: text.rstrip(".!"),
        "lower_bare": lambda: re.sub(r"\s*[.,!;:]+(?=\s|$)", "", text.lower()),
        "upper": text.upper,
        "typo": lambda: typo(text, rng),
        "typo_lower": lambda: typo(text.lower(), rng),
        "no_apostrophe": lambda: text.replace("'", ""),
        "expanded": lambda: expand(text),
        "stretched": lambda: _STRETCH.sub(lambda match: match[1] + match[1][-1] * rng.randint(1, 3), text, count=1),
        "hashtag": lambda: f"{text} #{rng.choice(_TAGS.get(domain, _ANY_TAGS).split())}",
        "exclaimed": lambda: re.sub(r"\.$", "!" * rng.randint(1, 3), text),
    }
    candidates = ((kinds[kind](), kind) for kind in rng.sample(list(kinds), len(kinds)))
    # Capitals are used less often than the others. A hashtag can always be added, so there is always a candidate.
    return next(
        (changed, kind)
        for changed, kind in candidates
        if changed not in {text, ""} and (kind != "upper" or rng.random() < 0.4)
    )


def typo(text: str, rng: random.Random) -> str:
    """Swap, drop, double or mistype a letter, but not the first one, in one or two of the longer words."""
    words = text.split(" ")
    long = [index for index, word in enumerate(words) if re.fullmatch(r"[A-Za-z]{5,}[.,!?]?", word)]
    for index in rng.sample(long, min(len(long), rng.choice((1, 1, 2)))):
        word = words[index]
        at = rng.randrange(1, len(word.rstrip(".,!?")) - 1)
        pair, neighbour = word[at : at + 2], rng.choice(_NEIGHBOURS[word[at].lower()])
        changed = rng.choice((pair[::-1], pair[1], pair[0] * 2 + pair[1], neighbour + pair[1]))
        words[index] = word[:at] + changed + word[at + 2 :]
    return " ".join(words)


def expand(text: str) -> str:
    """Expand contractions, unless the result would not be English."""
    if _INVERTED.search(text) or _HAS.search(text):
        return text
    for short, full in _CONTRACTIONS.items():
        start = "" if short == "n't" else r"\b"
        text = re.sub(start + short + r"\b", full, text)
        text = re.sub(r"\b" + short.capitalize() + r"\b", full[0].upper() + full[1:], text) if short != "n't" else text
    return text
