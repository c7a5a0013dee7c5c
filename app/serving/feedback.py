"""Feedback: people say which label was right, and the counts say how good each version is. Keeps no text.

Pure and bounded. Lives on the event loop.
"""

from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import InvalidInput, NotFound

MAX_TEXTS = 256  # of a list whose labels are remembered
_NONE = 0xFFFF  # no prediction, or no feedback; otherwise the index of a label


@dataclass(frozen=True, slots=True)
class FeedbackOutcome:
    """What was counted. `replaced` is the label of an earlier feedback for the same text."""

    model: str
    predicted: str
    label: str
    replaced: str | None = None


@dataclass(slots=True, eq=False)
class _Model:
    """The labels of a model, and how often each of them (row) was given and each (column) was right."""

    id: str
    labels: tuple[str, ...]
    counts: list[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = [[0] * len(self.labels) for _ in self.labels]


@dataclass(slots=True)
class _Request:
    """The labels that a request got, as indices, and those that were said to be right."""

    model: _Model
    predicted: "array[int]"
    right: "array[int] | None" = None


class Feedback:
    """Remembers the labels of the last `capacity` requests, and counts what people say about them."""

    def __init__(self, capacity: int = 10_000) -> None:
        self.capacity = capacity
        self._requests: OrderedDict[str, _Request] = OrderedDict()
        self._models: dict[str, _Model] = {}

    def remember(self, request_id: str, model_id: str, predicted: Sequence[str | None], labels: Sequence[str]) -> None:
        """Remember what a request got: the label of each text, None where it has no prediction.

        `labels` are all labels of the model. Of an id that comes again, only the newest request is remembered. Of a
        list, the first `MAX_TEXTS` texts are.
        """
        model = self._models.get(model_id)
        if model is None or model.labels != tuple(labels):
            model = self._models[model_id] = _Model(model_id, tuple(labels))
        places = array("H", (_NONE if each is None else model.labels.index(each) for each in predicted[:MAX_TEXTS]))
        self._requests[request_id] = _Request(model, places)
        self._requests.move_to_end(request_id)
        if len(self._requests) > self.capacity:
            self._requests.popitem(last=False)

    def record(self, request_id: str, label: str, index: int = 0) -> FeedbackOutcome:
        """Count that `label` was right for the text at `index` of a request. It replaces earlier feedback for the text.

        Raises `NotFound` for a request that is unknown or forgotten, and `InvalidInput` for a label that the model does
        not have, or a text that the request does not have or that got no prediction.
        """
        request = self._requests.get(request_id)
        if request is None or self._models.get(request.model.id) is not request.model:
            raise NotFound(
                "there is no prediction with this request id; each process keeps the ids of its last "
                f"{self.capacity:,} requests".replace(",", " ")
            )
        model = request.model
        if label not in model.labels:
            raise InvalidInput(f"the model has no such label; it has {', '.join(model.labels)}", ("body", "label"))
        if index >= len(request.predicted):
            texts = len(request.predicted)
            raise InvalidInput(
                f"the index must be less than {texts}, the number of texts of the request for which feedback can be "
                "given",
                ("body", "index"),
            )
        predicted = request.predicted[index]
        if predicted == _NONE:
            raise InvalidInput("this text got no prediction", ("body", "index"))
        self._requests.move_to_end(request_id)
        if request.right is None:
            request.right = array("H", [_NONE] * len(request.predicted))
        before, request.right[index] = request.right[index], model.labels.index(label)
        model.counts[predicted][request.right[index]] += 1
        if before != _NONE:
            model.counts[predicted][before] -= 1
        replaced = None if before == _NONE else model.labels[before]
        return FeedbackOutcome(model.id, model.labels[predicted], label, replaced)

    def forget(self, model_id: str) -> None:
        """Drop the counts of a version that has gone. There can be no more feedback for its requests."""
        self._models.pop(model_id, None)

    def counts(self, model_id: str) -> Mapping[str, Mapping[str, int]]:
        """Return the texts with feedback: for each predicted label, how often each label was right, without zeros."""
        model = self._models.get(model_id)
        if model is None:
            return {}
        rows = {
            predicted: {label: count for label, count in zip(model.labels, row, strict=True) if count}
            for predicted, row in zip(model.labels, model.counts, strict=True)
        }
        return {predicted: row for predicted, row in rows.items() if row}
