"""Which words of a text speak for its label: what changes when they are left out. Pure.

Leaving out single words is not enough, because the others often say the same, or mean something else alone. So the
words form a binary tree of phrases: neighbours come together first, then clauses, then sentences. What a phrase adds to
the log-odds of the label is what its two halves add, each with and without the other. These are Owen values (Owen
1977), as in shap's Partition explainer. Complete ones take every phrase in every context: with and without each of the
phrases around it. Here, each phrase is divided in one context first, and then in others while there are variants left,
those with the largest effects first.
"""

import heapq
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..inference import normalise
from ..types import Prediction, WordWeight

MAX_VARIANTS = 128  # of a text
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
    return list(_words(text))


def _words(text: str) -> Iterator[Span]:
    blanked = _TAG.sub(lambda tag: " " * len(tag[0]), text)
    for match in _WORD.finditer(blanked):
        inner = _INNER.search(match[0])
        start, end = inner.span() if inner else (0, len(match[0]))
        yield match.start() + start, match.start() + end


def find_phrases(text: str, words: Sequence[Span]) -> dict[Span, int]:
    """Join words to phrases, and those to larger ones; return each phrase, and where its halves meet.

    A phrase is a half-open range of words. Clauses are complete before they are joined, and so are sentences.
    """
    between = [text[first[1] : second[0]] for first, second in itertools.pairwise(words)]
    ends = [0, *(2 if _SENTENCE_END.search(each) else 1 if _CLAUSE_END.search(each) else 0 for each in between)]
    middles: dict[Span, int] = {}
    phrases = [(place, place + 1) for place in range(len(words))]
    for kind in (1, 2, 3):  # clauses, sentences, the text
        groups: list[list[Span]] = []
        for phrase in phrases:
            if not groups or ends[phrase[0]] >= kind:
                groups.append([])
            groups[-1].append(phrase)
        phrases = [_join(group, middles) for group in groups]
    return middles


def _join(phrases: list[Span], middles: dict[Span, int]) -> Span:
    """Join neighbours in pairs, and the pairs in pairs, until there is one phrase."""
    while len(phrases) > 1:
        pairs = list(zip(phrases[::2], phrases[1::2], strict=False))
        middles |= {(first[0], second[1]): second[0] for first, second in pairs}
        phrases = [(first[0], second[1]) for first, second in pairs] + phrases[2 * len(pairs) :]
    return phrases[0]


def cost_of(text: str) -> int:
    """Return how many texts a text and its explanation count as."""
    enough = math.isqrt(MAX_VARIANTS) + 1  # more words make no difference
    return 1 + most_variants(sum(1 for _ in itertools.islice(_words(text), enough)))


def most_variants(words: int) -> int:
    """Return how many variants a text with so many words takes at most."""
    return min(MAX_VARIANTS, max(1, words) ** 2)


def weigh_words(
    text: str, prediction: Prediction, predict: Callable[[list[str]], Sequence[Prediction]]
) -> list[WordWeight]:
    """Weigh the words of a text at once; `predict` predicts its variants."""
    explainer = Explainer(text, prediction)
    while variants := explainer.next_variants():
        explainer.observe(predict(variants))
    return explainer.weights()


class _Division(NamedTuple):
    """A phrase (a range of words) that may be divided, in a context: the other words that are present, as bits."""

    phrase: Span
    context: int
    depth: int
    is_first: bool  # of the contexts of this phrase


class Explainer:
    """Weighs the words of a text, given the predictions of variants of it. Asks for them in a few rounds."""

    def __init__(self, text: str, prediction: Prediction) -> None:
        """Explain the `prediction` of `text`."""
        self._text = text
        self._label = prediction.label
        self._whole = _log_odds(prediction, self._label)
        self._words: list[Span] | None = None  # until the first round
        self._middles: dict[Span, int] = {}  # of each phrase of several words: where its halves meet
        self._values: dict[int, float] = {}  # the log-odds with these words present, as bits
        self._asked: list[int] = []
        self._contexts: dict[Span, list[int]] = {}  # in which a phrase was divided
        self._open: list[_Division] = []

    @property
    def room(self) -> int:
        """Return how many variants the next round has at most."""
        if self._words is None:  # each word has a character or more
            return min(_PER_ROUND, most_variants(len(self._text)))
        return max(0, min(_PER_ROUND, most_variants(len(self._words)) - len(self._values) + 1))

    def next_variants(self) -> list[str]:
        """Return the texts to predict next, or none if there are no more. Give their predictions to `observe`."""
        self._asked = []
        if self._words is None:
            self._words = find_words(self._text)
            if self._words:
                root = (0, len(self._words))
                self._middles = find_phrases(self._text, self._words)
                self._values[_bits(root)] = self._whole
                self._asked = [0]
                self._open = [_Division(root, 0, 0, is_first=True)]
        numbers = itertools.count()  # divisions of the same rank come in the order in which they were found
        ranked = [(self._rank(division), next(numbers), division) for division in self._open]
        heapq.heapify(ranked)
        while ranked and ranked[0][0] < _UNKNOWN and len(self._asked) + 2 <= self.room:
            for division in self._divide(heapq.heappop(ranked)[-1]):
                heapq.heappush(ranked, (self._rank(division), next(numbers), division))
        self._open = [division for *_, division in sorted(ranked)]
        return [self._variant(present) for present in self._asked]

    def observe(self, predictions: Sequence[Prediction | None]) -> None:
        """Take the predictions of the variants that `next_variants` returned; None for what is not a valid text."""
        for present, prediction in zip(self._asked, predictions, strict=True):
            self._values[present] = _log_odds(prediction, self._label) if prediction else self._whole

    def weights(self) -> list[WordWeight]:
        """Return how much each word speaks for the label, in log-odds; they add up to what the whole text does."""
        weights: list[WordWeight] = []

        def share(phrase: Span, effect: float) -> None:
            start, end = phrase
            if contexts := self._contexts.get(phrase):
                halves = self._halves(phrase)
                gains = [
                    sum(self._gain(half, context) + self._gain(half, context | _bits(other)) for context in contexts)
                    / (2 * len(contexts))
                    for half, other in (halves, halves[::-1])
                ]
                # The whole phrase was seen in more contexts than its halves.
                rest = (effect - sum(gains)) / 2
                for half, gain in zip(halves, gains, strict=True):
                    share(half, gain + rest)
            else:
                weights.extend(WordWeight(*word, effect / (end - start)) for word in words[start:end])

        if words := self._words or []:
            share((0, len(words)), self._whole - self._values[0])
        return weights

    def _divide(self, division: _Division) -> Iterator[_Division]:
        """Ask for each half of a phrase without the other, and yield how the halves may be divided next."""
        phrase, context, depth, is_first = division
        self._contexts.setdefault(phrase, []).append(context)
        halves = self._halves(phrase)
        self._asked += [context | _bits(half) for half in halves]
        for place, (half, other) in enumerate((halves, halves[::-1])):
            if half in self._middles:
                contexts = (context, context | _bits(other))
                first = (depth + place) % 2  # phrases are first seen in contexts of all kinds
                for number in (first, 1 - first):
                    yield _Division(half, contexts[number], depth + 1, is_first and number == first)

    def _rank(self, division: _Division) -> tuple[int, float]:
        """Return when to divide a phrase: lower is earlier."""
        start, end = division.phrase
        if division.context in self._values and division.context | _bits(division.phrase) in self._values:
            return (0 if division.is_first else 1), -abs(self._gain(*division[:2])) / 2**division.depth
        # Until its effect is known, a long phrase comes first.
        return (0, float(start - end)) if division.is_first else _UNKNOWN

    def _gain(self, phrase: Span, context: int) -> float:
        return self._values[context | _bits(phrase)] - self._values[context]

    def _halves(self, phrase: Span) -> tuple[Span, Span]:
        start, end = phrase
        middle = self._middles[phrase]
        return (start, middle), (middle, end)

    def _variant(self, present: int) -> str:
        pieces, position = [], 0
        for place, (start, end) in enumerate(self._words or []):
            if not present >> place & 1:
                pieces.append(self._text[position:start])
                position = end
        variant = "".join([*pieces, self._text[position:]])
        return variant if normalise(variant) else _NOTHING


_UNKNOWN = (2, 0.0)  # the rank of a division whose effect is not known and need not be known now


def _bits(words: Span) -> int:
    start, end = words
    return (1 << end) - (1 << start)


def _log_odds(prediction: Prediction, label: str) -> float:
    score = min(max(prediction.scores[label], _LEAST), 1 - _LEAST)
    return math.log(score / (1 - score))
