"""A file that has its name only when it is whole."""

import os
from pathlib import Path


class PartFile:
    """Collects a file beside its place. Either `finish` or `discard` must be called."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._target = Path(path)
        self._part = self._target.with_name(self._target.name + ".part")
        self._stream = self._part.open("wb")

    def write(self, offset: int, data: bytes) -> None:
        """Write a piece. The first one, at 0, replaces all that was written before."""
        if not offset:
            self._stream.seek(0)
            self._stream.truncate()
        self._stream.write(data)

    def finish(self) -> None:
        """Give the file its name."""
        try:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            self._part.replace(self._target)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        self._stream.close()
        self._part.unlink(missing_ok=True)
