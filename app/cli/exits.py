"""Exit statuses, and the error that ends a command with one."""

OK = 0
FAILED = 1
WRONG_USAGE = 2  # a flag, a setting or a file that cannot be used as given
HAS_ERRORS = 3  # everything was done, but some rows have no prediction
INTERRUPTED = 130  # Ctrl-C, as shells report it


class Failure(Exception):
    """Ends the command: the message goes to standard error."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status
