"""All errors that this package raises on purpose.

    SentimentError
    ├── InvalidInput          the text or the request is not valid
    │   ├── TextTooLong       … because it is too long for a limit or the model
    │   └── MalformedBody     … because its bytes are not what its headers say
    ├── NotFound              there is nothing of this name, or it belongs to another client
    ├── Conflict              the state of something does not allow the request
    ├── Overloaded            rejected on arrival, because the queue is too long
    │   └── RateLimited       … or because the client is over its rate limit
    ├── DeadlineExceeded      no result within the time limit of the request
    ├── NotReady              the service is loading, draining or broken
    ├── BodiesFull            the bodies of other requests take too much memory
    ├── BackendError          the model failed on this text
    ├── TableError            a file of rows cannot be read or written
    │   └── TableOptionError  … in the way that the options say
    ├── ArtifactError         a model directory is missing, incomplete or corrupt
    │   └── CorruptArtifact   … because a file does not match its manifest
    └── SetupError            a setting names something that cannot be used
        ├── KeysError         … a file of API keys
        └── ModelsFileError   … a models file, or a change to it

Messages are for people and never contain a user's text. Errors of libraries are translated where they arise. One table
in `api/errors.py` maps each error to a status code.
"""

import re
from collections.abc import Callable

_OPTION = re.compile(r"\{(\w+)\}")


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


class NotFound(SentimentError):
    """There is nothing of this name, or it belongs to another client."""


class Conflict(SentimentError):
    """The state of something does not allow the request; the message says which."""


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


class TableError(SentimentError):
    """A file of rows cannot be read or written. `advice` says what may help, with the names of options in braces."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice

    def explain(self, name_option: Callable[[str], str] = str) -> str:
        """Return the message and the advice, with the options as the caller writes them."""
        advice = _OPTION.sub(lambda match: name_option(match[1]), self.advice)
        return f"{self}; {advice}" if advice else str(self)


class TableOptionError(TableError):
    """The options do not fit the file."""


class ArtifactError(SentimentError):
    """A model directory is missing, incomplete or corrupt."""


class CorruptArtifact(ArtifactError):
    """A file of the model does not match its manifest. No other file or backend may be tried instead."""


class SetupError(SentimentError):
    """A setting names something that cannot be used; the message says which."""


class KeysError(SetupError):
    """The file of API keys cannot be used."""


class ModelsFileError(SetupError):
    """The models file, its audit log or a change to it is not valid; `line` is where, from 1, or 0 if unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line
