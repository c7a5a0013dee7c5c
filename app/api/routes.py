"""Our routes: paths that may have parameters in braces. Logs and metrics name them, because paths may contain texts."""

import re
from collections.abc import Collection

_PARAMETER = re.compile(r"\\{\w+\\}")  # as `re.escape` writes it


class Routes:
    """Finds the route of a path."""

    def __init__(self, routes: Collection[str]) -> None:
        self._plain = frozenset(routes)
        self._templates = [route for route in sorted(self._plain) if "{" in route]
        # One expression for all, with a group for each.
        patterns = [_PARAMETER.sub("[^/]+", re.escape(route)) for route in self._templates]
        self._pattern = re.compile("|".join(f"({pattern})" for pattern in patterns) or "(?!)")

    def find(self, path: str) -> str | None:
        """Return the route of a path; None if it is not one of ours."""
        if path in self._plain:
            return path
        match = self._pattern.fullmatch(path)
        return self._templates[match.lastindex - 1] if match and match.lastindex else None

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self.find(path) is not None
