"""What a request asks of the service."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..types import Location, LongText, Text


@dataclass(slots=True)  # not frozen: that would triple the time to make one
class Query:
    """The texts of a request and how to answer them.

    Callers share the model by the work that their texts take. With `partial`, a text that cannot be predicted gets
    an error in its place; otherwise it fails the request, and `location_of` says where in the request the text with an
    index is.
    """

    texts: Sequence[Text]
    timeout_ms: float
    truncate: bool = True
    long_text: LongText = "truncate"
    caller: str = ""
    partial: bool = False
    explain: bool = False  # `Service.explain` does it, in addition
    uses_shared_cache: bool = True  # a line of a stream does not: the lines after it would wait, too
    are_variants: bool = False  # of texts that are explained: metrics count them apart
    may_be_shallow: bool = True  # in a brownout; not if the response could not say so, or predictions are compared
    request: object = None  # as the observer of batches knows it, if that has to tell requests apart
    location_of: Callable[[int], Location] = lambda index: (index,)

    @property
    def reads_windows(self) -> bool:
        return self.long_text == "window"
