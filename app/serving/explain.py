"""Which words of a text speak for its label: what changes when they are left out. Pure.

Leaving out single words is not enough, because the others often say the same. So the text is halved again and again, at
the ends of sentences and clauses where there are any, and each part is left out as a whole. A part counts as much as
the log-odds of the label fall without it. What two halves count less or more alone than together is shared between
their words. These are the Owen values (Owen 1977) of a binary tree of phrases, seen from the whole text; shap's
Partition explainer computes the same for its own tree.
"""

import heapq
import math
import re
from collections.abc import Sequence

from ..inference import normalise
from ..types import Prediction, WordWeight

# Variants of a text that run at most. A text of up to 32 words is taken apart completely.
MAX_VARIANTS = 64
MAX_CHARS = 2000  # of a text that is explained: all its variants must fit into the memory at the same time
_PER_ROUND = 32

_LEAST = 1e-6  # a probability of 0 has no log-odds
_NOTHING = "."  # instead of a text without any visible character

_TAG = re.compile(r"<[^<>]{0,200}>")
_LINK = r"(?:https?://|www\.)\S+"
# Scripts without spaces: each character counts as a word.
_ALONE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_WORD = re.compile(rf"{_LINK}|[{_ALONE}]|[^\s{_ALONE}]+", re.IGNORECASE)
_INNER = re.compile(r"&#?\w+;|[@#]?\w(?:.*\w)?", re.DOTALL)  # without the punctuation around it
_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f\n]")
_CLAUSE_END = re.compile(r"[,;:()\[\]\u2013\u2014\"\u201c\u201d\u3001\uff0c]")

Span = tuple[int, int]


def find_words(text: str) -> list[Span]:
    """Return the words of a text as half-open ranges of characters, in order.

    Links, mentions, hashtags and emoji count as words. Punctuation around a word does not belong to it, and HTML tags
    are no words.
    """
    spans = []
    blanked = _TAG.sub(lambda tag: " " * len(tag[0]), text)
    for match in _WORD.finditer(blanked):
        inner = _INNER.search(match[0])
        start, end = inner.span() if inner else (0, len(match[0]))
        spans.append((match.start() + start, match.start() + end))
    return spans


def cost_of(text: str) -> int:
    """Return how many texts a text and its explanation count as."""
    return 1 + min(MAX_VARIANTS, max(1, 2 * len(find_words(text)) - 1))


class Explainer:
    """Weighs the words of a text, given the predictions of variants of it. Asks for them in a few rounds."""

    def __init__(self, text: str, prediction: Prediction) -> None:
        """Explain the `prediction` of `text`."""
        self._text = text
        self._label = prediction.label
        self._whole = _log_odds(prediction, self._label)
        self._words: list[Span] = []
        self._ends: list[int] = []  # for each word, what ends before it: 2 for a sentence, 1 for a clause, otherwise 0
        self._middles: dict[Span, int] = {}  # of the ranges of words that were halved
        self._effects: dict[Span, float] = {}  # of a range of words: how much the log-odds fall without it
        self._asked: list[Span] = []
        self._next: list[tuple[float, Span]] = []  # ranges that may be halved, those of the largest effects first

    @property
    def most_variants(self) -> int:
        """Return how many variants the next round has at most, at least 1."""
        # The words are not known yet, but each has a character or more, and takes fewer than two variants.
        return max(1, min(_PER_ROUND, MAX_VARIANTS - len(self._effects), 2 * len(self._text)))

    def next_variants(self) -> list[str]:
        """Return the texts to predict next, or none if there are no more. Give their predictions to `observe`."""
        room = min(_PER_ROUND, MAX_VARIANTS - len(self._effects))
        self._asked = []
        if not self._effects:
            self._words = find_words(self._text)
            self._ends = [self._end_before(place) for place in range(len(self._words))]
            if self._words:
                self._ask((0, len(self._words)))
        while self._next and len(self._asked) + 2 <= room:
            start, end = heapq.heappop(self._next)[1]
            middle = self._middles[start, end] = self._middle(start, end)
            self._ask((start, middle), (middle, end))
        return [self._without(*part) for part in self._asked]

    def observe(self, predictions: Sequence[Prediction | None]) -> None:
        """Take the predictions of the variants that `next_variants` returned; None for what is not a valid text."""
        for part, prediction in zip(self._asked, predictions, strict=True):
            self._effects[part] = self._whole - _log_odds(prediction, self._label) if prediction else 0.0
        self._next = [(-abs(self._effects[part]), part) for _, part in self._next]
        heapq.heapify(self._next)

    def weights(self) -> list[WordWeight]:
        """Return how much each word speaks for the label, in log-odds; they add up to what the whole text does."""
        weights: list[WordWeight] = []

        def share(part: Span, effect: float) -> None:
            start, end = part
            if part in self._middles:
                middle = self._middles[part]
                halves = (start, middle), (middle, end)
                together = effect - sum(self._effects[half] for half in halves)
                for half in halves:
                    share(half, self._effects[half] + together * (half[1] - half[0]) / (end - start))
            else:
                each = effect / (end - start)
                weights.extend(WordWeight(*word, each) for word in self._words[start:end])

        if self._effects:
            whole = (0, len(self._words))
            share(whole, self._effects[whole])
        return weights

    def _ask(self, *parts: Span) -> None:
        self._asked += parts
        for part in parts:
            if part[1] - part[0] > 1:
                # Until its effect is known, a long part comes first.
                heapq.heappush(self._next, (float(part[0] - part[1]), part))

    def _end_before(self, place: int) -> int:
        between = self._text[self._words[place - 1][1] if place else 0 : self._words[place][0]]
        return 2 if _SENTENCE_END.search(between) else 1 if _CLAUSE_END.search(between) else 0

    def _middle(self, start: int, end: int) -> int:
        """Return where to halve a range of words: between sentences, else between clauses, else in its middle."""
        strongest = max(self._ends[start + 1 : end])
        places = [place for place in range(start + 1, end) if self._ends[place] == strongest]
        return min(places, key=lambda place: abs(2 * place - start - end))

    def _without(self, start: int, end: int) -> str:
        pieces, position = [], 0
        for word_start, word_end in self._words[start:end]:
            pieces.append(self._text[position:word_start])
            position = word_end
        variant = "".join([*pieces, self._text[position:]])
        return variant if normalise(variant) else _NOTHING


def _log_odds(prediction: Prediction, label: str) -> float:
    score = min(max(prediction.scores[label], _LEAST), 1 - _LEAST)
    return math.log(score / (1 - score))
