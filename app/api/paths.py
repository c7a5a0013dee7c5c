"""The paths of the routes, by which logs and metrics name requests."""

import re
from collections.abc import Collection

_PARAMETER = re.compile(r"\{\w+\}")


class Paths:
    """Paths as routes state them, such as `/info` and `/jobs/{id}`."""

    def __init__(self, paths: Collection[str]) -> None:
        self.names = frozenset(paths)
        self._exact = frozenset(path for path in paths if "{" not in path)
        self._patterns = {
            re.compile("[^/]+".join(map(re.escape, _PARAMETER.split(path)))): path
            for path in sorted(self.names - self._exact)
        }

    def name_of(self, path: str) -> str | None:
        """Return the path of the route to which a request for `path` goes, without what clients write into it."""
        if path in self._exact:
            return path
        return next((name for pattern, name in self._patterns.items() if pattern.fullmatch(path)), None)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self.name_of(path) is not None
