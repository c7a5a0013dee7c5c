"""How many parts the body of a request may come in."""

# Each chunk of a body takes as much time as hundreds of bytes. After so many, they must have so many bytes on average.
_MAX_SMALL = 4096


class BodyParts:
    """Counts the parts of one body."""

    def __init__(self) -> None:
        self.count = 0
        self._bytes = 0

    def add(self, size: int, min_bytes: int) -> bool:
        """Count a part; return whether there are too many with fewer than `min_bytes` on average."""
        self.count += 1
        self._bytes += size
        return self.count > _MAX_SMALL + self._bytes // min_bytes
