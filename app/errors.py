"""Everything that can go wrong on purpose.

    SentimentError
    ├── InvalidInput          the caller's text or request cannot be served as it is
    │   └── TextTooLong       … because it is too long for the limit or the model
    ├── Overloaded            refused at the door: the queue is too long already
    │   └── RateLimited       … or this caller has asked for enough
    ├── DeadlineExceeded      no answer within the time that the caller gave
    ├── NotReady              the model is loading, draining or broken
    ├── BackendError          the model failed on this text
    ├── ArtifactError         a model directory is missing, incomplete or corrupt
    └── SetupError            what a setting names cannot be used
        └── KeysError         … the file of API keys

Messages are for people and never contain a user's text. Errors of libraries are translated at the boundary where
they arise; which status code each one becomes is decided in one table, in `api/errors.py`.
"""


class SentimentError(Exception):
    """Base of all errors that this package raises on purpose."""


class InvalidInput(SentimentError):
    """The caller's text or request cannot be served as it is; `loc` leads to the part that is wrong."""

    def __init__(self, message: str, loc: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.loc = loc


class TextTooLong(InvalidInput):
    """A text, a list or a body is over its limit."""


class Overloaded(SentimentError):
    """Refused at the door; `retry_after_s` is the time, in seconds, that the backlog needs."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimited(Overloaded):
    """This caller has asked for as much as one may for now."""


class DeadlineExceeded(SentimentError):
    """No answer within the time that the caller gave."""


class NotReady(SentimentError):
    """The service cannot answer now; `retry_after_s` is a guess, in seconds, at when it can."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BackendError(SentimentError):
    """The model failed on this text."""


class ArtifactError(SentimentError):
    """A model directory is missing, incomplete or corrupt."""


class CorruptArtifact(ArtifactError):
    """A file of a model is not the one that its manifest speaks of. Nothing else should be tried in its place."""


class SetupError(SentimentError):
    """What a setting names cannot be used; the message says which."""


class KeysError(SetupError):
    """The file of API keys cannot be used."""
