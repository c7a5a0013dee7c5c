"""What a comparison means, in sentences for people who decide and know no statistics."""

from collections.abc import Iterator

from .accuracy import Accuracies
from .counts import CountComparison
from .pairs import Comparison
from .proportions import Share
from .significance import LEVEL


def describe(comparison: Comparison, a: str = "A", b: str = "B") -> str:
    """Return the verdict on versions that answered the same texts. `a` and `b` are their names."""
    agreement = comparison.agreement
    sentences = [
        f"Of {_texts(comparison.texts)} the two versions gave {_count(agreement.count)} ({_percent(agreement)}) the "
        "same label."
    ]
    if comparison.accuracies is None:
        sentences.append(
            "The right label is known for none of them, so these texts do not say which version is better."
        )
    else:
        sentences += _verdict(comparison.accuracies, a, b)
    return " ".join(sentences)


def describe_counts(comparison: CountComparison, a: str = "A", b: str = "B") -> str:
    """Return the verdict on versions that answered different texts, as far as a server has counted them."""
    sentences = []
    for name, counts in ((a, comparison.a), (b, comparison.b)):
        if counts.shadow:
            shadow = counts.shadow.agreement
            sentences.append(
                f"{name} is a shadow: of the {_texts(shadow.whole)} that it saw, it gave {_count(shadow.count)} "
                f"({_percent(shadow)}) the label that was sent."
            )
    if comparison.accuracies is None:
        missing = [name for name, share in ((a, comparison.accuracy_a), (b, comparison.accuracy_b)) if share is None]
        sentences.append(
            f"There is no feedback for {' and '.join(missing)}, so the counts do not say which version is better."
        )
    else:
        sentences += _verdict(comparison.accuracies, a, b)
        sentences.append("People choose the texts for which they give feedback, so other texts may be different.")
    return " ".join(sentences)


def _verdict(accuracies: Accuracies, a: str, b: str) -> Iterator[str]:
    yield _shares(accuracies, a, b)
    better, other = (b, a) if accuracies.difference.value > 0 else (a, b)
    if accuracies.p < LEVEL:
        yield (
            f"A difference of this size is unlikely to be chance (p {_p(accuracies.p)}): on texts like these, {better} "
            f"is better than {other}."
        )
        yield _interval(accuracies, better)
        return
    if accuracies.texts_needed is None:
        yield "So there is no difference: these texts do not show that either is better."
        return
    yield f"Such a difference can be chance (p {_p(accuracies.p)}): these texts do not show that either is better."
    each = "" if accuracies.paired else " for each version"
    yield (
        f"About {_count(_rounded(accuracies.texts_needed))} labelled texts{each} would be needed to show a difference "
        "of this size."
    )


def _shares(accuracies: Accuracies, a: str, b: str) -> str:
    share_a, share_b = accuracies.a, accuracies.b
    if accuracies.paired:
        known = f"Where the right label is known ({_texts(share_a.whole)}), "
        return f"{known}{b} is right for {_percent(share_b)}, {a} for {_percent(share_a)}."
    return (
        f"According to feedback, {b} is right for {_percent(share_b)} of {_texts(share_b.whole)}, {a} for "
        f"{_percent(share_a)} of {_texts(share_a.whole)}."
    )


def _interval(accuracies: Accuracies, better: str) -> str:
    low, high = sorted(abs(limit) for limit in (accuracies.difference.low, accuracies.difference.high))
    if accuracies.difference.low * accuracies.difference.high < 0:  # near the level, test and interval may disagree
        low = 0.0
    return (
        f"The advantage of {better} is probably between {100 * low:.1f} and {100 * high:.1f} percentage points "
        "(95 % interval)."
    )


def _texts(number: int) -> str:
    return f"{_count(number)} text{'' if number == 1 else 's'}"


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _percent(share: Share) -> str:
    # 99.96 % is not "100.0 %": that would say that there was no exception.
    value = 100 * share.value
    if share.count < share.whole:
        value = min(value, 99.9)
    return f"{value if not share.count else max(value, 0.1):.1f} %"


def _p(p: float) -> str:
    if p < 0.001:
        return "< 0.001"
    if p >= 0.1:
        return f"= {p:.2f}"
    # What is below the level must look so.
    return f"= {min(round(p, 3), LEVEL - 0.001) if p < LEVEL else p:.3f}"


def _rounded(number: int) -> int:
    """Round up to two digits: more would claim a precision that the estimate does not have."""
    step = int(10.0 ** max(0, len(str(number)) - 2))
    return -(-number // step) * step
