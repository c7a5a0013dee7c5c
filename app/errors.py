"""All errors that this package raises on purpose.

    SentimentError
    ├── InvalidInput          the text or the request is not valid
    │   ├── TextTooLong       … because it is too long for a limit or the model
    │   └── MalformedBody     … because its bytes are not what its headers say
    ├── UnknownModel          no such model or version is served
    ├── Overloaded            rejected on arrival, because the queue is too long
    │   └── RateLimited       … or because the client is over its rate limit
    ├── DeadlineExceeded      no result within the time limit of the request
    ├── NotReady              the service is loading, draining or broken
    ├── BodiesFull            the bodies of other requests take too much memory
    ├── BackendError          the model failed on this text
    ├── ArtifactError         a model directory is missing, incomplete or corrupt
    │   └── CorruptArtifact   … because a file does not match its manifest
    └── SetupError            a setting names something that cannot be used
        └── KeysError         … a file of API keys

Messages are for people and never contain a user's text. Errors of libraries are translated where they arise. One table
in `api/errors.py` maps each error to a status code.
"""


class SentimentError(Exception):
    """Base of all errors that this package raises on purpose."""


class InvalidInput(SentimentError):
    """The text or the request is not valid; `loc` is the path to the invalid part."""

    def __init__(self, message: str, loc: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.loc = loc


class TextTooLong(InvalidInput):
    """A text, a list of texts or a request body is over its limit."""


class MalformedBody(InvalidInput):
    """The bytes of a request are not what its headers, or its other bytes, say."""


class UnknownModel(SentimentError):
    """No such model or version is served."""


class Overloaded(SentimentError):
    """Rejected on arrival; `retry_after_s` estimates when there is room again."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimited(Overloaded):
    """The client is over its rate limit."""


class DeadlineExceeded(SentimentError):
    """No result within the time limit of the request."""


class NotReady(SentimentError):
    """The service cannot answer now; `retry_after_s` estimates when it can."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BodiesFull(SentimentError):
    """The bodies of other requests take too much memory; `retry_after_s` estimates when there is room again."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BackendError(SentimentError):
    """The model failed on this text; `loc` is the path to the text in the request."""

    def __init__(self, message: str, loc: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.loc = loc


class ArtifactError(SentimentError):
    """A model directory is missing, incomplete or corrupt."""


class CorruptArtifact(ArtifactError):
    """A file of the model does not match its manifest. No other file or backend may be tried instead."""


class SetupError(SentimentError):
    """A setting names something that cannot be used; the message says which."""


class KeysError(SetupError):
    """The file of API keys cannot be used."""
