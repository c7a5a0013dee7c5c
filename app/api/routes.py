"""Our routes: paths that may have parameters in braces. Logs and metrics name them, because paths may contain texts."""

import re
from collections.abc import Collection

_PARAMETER = re.compile(r"\\{\w+\\}")  # as `re.escape` writes it


class Routes:
    """Finds the route of a path."""

    def __init__(self, routes: Collection[str]) -> None:
        self._plain = frozenset(routes)
        templates = [route for route in self._plain if "{" in route]
        self._templates = [(re.compile(_PARAMETER.sub("[^/]+", re.escape(route))), route) for route in templates]

    def find(self, path: str) -> str | None:
        """Return the route of a path; None if it is not one of ours."""
        if path in self._plain:
            return path
        return next((route for pattern, route in self._templates if pattern.fullmatch(path)), None)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self.find(path) is not None
