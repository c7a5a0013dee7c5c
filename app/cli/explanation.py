"""Shows on a terminal which words of a text speak for its label."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .console import print_rich

if TYPE_CHECKING:
    from ..types import Prediction, WordWeight

_STRONG = 0.5  # as a share of the largest weight of the text
_WEAK = 0.15  # what is below is not shown
_LISTED = 5  # words of each kind


def print_explanation(text: str, prediction: "Prediction", words: "Sequence[WordWeight] | None") -> None:
    """Print the label, the text with its words in colours, and the words with the largest weights."""
    from rich.text import Text

    # What moves the cursor or changes colours must not reach the terminal.
    shown = "".join(character if character.isprintable() else " " for character in text)
    coloured = Text(shown)
    largest = max((abs(word.weight) for word in words or ()), default=0.0)
    for word in words or ():
        if abs(word.weight) > _WEAK * largest:
            colour = "green" if word.weight > 0 else "red"
            strength = "bold " if abs(word.weight) > _STRONG * largest else ""
            coloured.stylize(f"{strength}{colour}", word.start, word.end)
    label = prediction.shown_label or f"no label, most likely {prediction.label}"
    print_rich(Text(f"{label} {prediction.confidence:.4f}", "bold"), coloured)
    # The same without colours: for everyone who does not see them, and with NO_COLOR.
    for name, sign in (("for", 1), ("against", -1)):
        best = sorted((word for word in words or () if word.weight * sign > _WEAK * largest), key=_size, reverse=True)
        if best:
            listed = ", ".join(f"{shown[word.start : word.end]} {word.weight:+.2f}" for word in best[:_LISTED])
            print_rich(Text(f"{name}: {listed}", "dim"))


def _size(word: "WordWeight") -> float:
    return abs(word.weight)
