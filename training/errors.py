"""The error for bad input.

A step that fails with it prints the message without a traceback. Any other exception is a bug and keeps its traceback.
Exceptions that libraries raise because of a user's file are converted to `InputError` where they occur.
"""


class InputError(ValueError):
    """A text, file or setting cannot be used. The message says what is wrong, and where."""


class BusyRun(InputError):
    """Another process trains in the directory."""


class UsageError(InputError):
    """An option does not exist or does not fit the file: a column, a setting or a value. A step ends with status 2."""


class FetchFailed(InputError):
    """A package cannot be fetched, perhaps only now."""
