"""The cost of a batch: milliseconds as a function of its tokens, learned from past batches. Pure."""

from dataclasses import dataclass

# Weight of the past at each new batch. After 50 batches, about a second under load, a measurement counts a third.
_DECAY = 0.98
_LEAST_MS = 1e-3  # a batch that took no time, by a coarse clock, would make everything free
# Once the weights add up to _TRUSTED, a measurement counts as at most _OUTLIER times its prediction.
_TRUSTED, _OUTLIER = 5.0, 4.0


@dataclass(slots=True)
class CostModel:
    """`ms = base_ms + token_ms · tokens`, fitted to past batches. Tokens include padding if the model does not skip it.

    The fit is exponentially weighted least squares on `ms / tokens = token_ms + base_ms · (1 / tokens)`. Errors count
    relative to the size of a batch. Otherwise a few large batches would decide the estimate for small ones.
    """

    base_ms: float = 1.0
    token_ms: float = 0.02
    _weight: float = 0.0
    _x: float = 0.0
    _y: float = 0.0
    _xx: float = 0.0
    _xy: float = 0.0

    def predict(self, tokens: int) -> float:
        """Return the milliseconds that a batch of `tokens` tokens takes in one slot."""
        return self.base_ms + self.token_ms * tokens

    def observe(self, tokens: int, ms: float) -> None:
        """Update the fit with a batch that ran."""
        ms = max(ms, _LEAST_MS)
        if self._weight >= _TRUSTED:  # one slow moment must not make the machine look slow for minutes
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
            # A line through noise may start below zero or slope down, but both costs must stay positive.
            self.base_ms = min(max(slope, 0.0), 0.95 * mean_y / mean_x)
        else:  # batches of one size do not tell the two costs apart: scale both
            self.base_ms *= mean_y / (self.token_ms + self.base_ms * mean_x)
        self.token_ms = mean_y - self.base_ms * mean_x
