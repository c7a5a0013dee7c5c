"""What a batch costs: milliseconds by the number of its tokens, learned from the batches that ran. Pure."""

from dataclasses import dataclass

# How fast old measurements fade from the cost model: after 50 batches, a second or so under load, one counts a third.
_DECAY = 0.98
# From so many measurements on, one counts as so many times its prediction at most.
_TRUSTED, _OUTLIER = 5.0, 4.0


@dataclass(slots=True)
class CostModel:
    """`ms = base_ms + token_ms · tokens`, with padding where the model can't pack, fitted to the batches that ran.

    Exponentially weighted least squares on `ms / tokens = token_ms + base_ms · (1 / tokens)`: errors count in relation
    to the size of a batch, or a few large batches would decide what a small one is thought to cost.
    """

    base_ms: float = 1.0
    token_ms: float = 0.02
    _weight: float = 0.0
    _x: float = 0.0
    _y: float = 0.0
    _xx: float = 0.0
    _xy: float = 0.0

    def predict(self, tokens: int) -> float:
        """Milliseconds that a batch of so many tokens takes in one slot."""
        return self.base_ms + self.token_ms * tokens

    def observe(self, tokens: int, ms: float) -> None:
        """Learn from a batch that ran."""
        if self._weight >= _TRUSTED:  # a machine that stumbles once must not be thought slow for minutes
            ms = min(ms, _OUTLIER * self.predict(tokens))
        x, y = 1 / tokens, ms / tokens
        self._weight = self._weight * _DECAY + 1
        self._x = self._x * _DECAY + x
        self._y = self._y * _DECAY + y
        self._xx = self._xx * _DECAY + x * x
        self._xy = self._xy * _DECAY + x * y
        mean_x, mean_y = self._x / self._weight, self._y / self._weight
        variance = self._xx / self._weight - mean_x * mean_x
        if variance > 0.01 * mean_x * mean_x:
            slope = (self._xy / self._weight - mean_x * mean_y) / variance
            # A line through noise may start below zero or fall: a batch costs something, and so does a token.
            self.base_ms = min(max(slope, 0.0), 0.95 * mean_y / mean_x)
        else:  # batches of one size say how long they take, not why: scale the line
            self.base_ms *= mean_y / (self.token_ms + self.base_ms * mean_x)
        self.token_ms = mean_y - self.base_ms * mean_x
