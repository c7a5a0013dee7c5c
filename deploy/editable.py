"""Lets an editable install import the folder `app` as `rt_sentiment`, the name that the package has in the wheel."""

import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_PACKAGE = '''\
"""The folder `app` of a working tree, under the name that the package has in the wheel."""

from pathlib import Path

__path__ = [{folder!r}]
_file = Path(__path__[0], "__init__.py")
exec(compile(_file.read_text(encoding="utf-8"), str(_file), "exec"))
'''


class EditableName(BuildHookInterface):  # type: ignore[type-arg]
    """A build hook of hatchling, which cannot rename a package in editable installs by itself."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add a package `rt_sentiment` whose modules are those of the folder `app`."""
        if version != "editable":
            return
        self._folder = tempfile.TemporaryDirectory()  # removed with this hook
        file = Path(self._folder.name, "__init__.py")
        file.write_text(_PACKAGE.format(folder=str(Path(self.root, "app"))), encoding="utf-8")
        build_data["force_include_editable"][str(file)] = "rt_sentiment/__init__.py"
