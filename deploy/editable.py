"""Makes the folder `app` importable as `rt_sentiment`, its name in the wheel, in editable installs."""

import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class EditableName(BuildHookInterface):  # type: ignore[type-arg]
    """Build hook for hatchling, which cannot rename a package in an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add a module `rt_sentiment` that replaces itself with the package in the folder `app`."""
        if version != "editable":
            return
        from editables import EditableProject  # not at the top: `pip install .` does not install it

        project = EditableProject(self.metadata.core.name, self.root)
        project.map_method = "self_replace"
        project.map("rt_sentiment", "app")
        folder = Path(tempfile.mkdtemp())
        for name, content in project.files():
            (folder / name).write_text(content, encoding="utf-8")
            build_data["force_include_editable"][str(folder / name)] = name
