"""Imports within `training` and `onnx_export` go in one direction."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.process import ROOT

MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for package in ("training", "onnx_export")
    for file in (ROOT / package).rglob("*.py")
}
# Each folder may import those before it. `errors` and `files` come first: any module may import them.
FOLDERS = (
    "training.data",
    "training.evaluation",
    "training.checkpoints",
    "training.fit",
    "training.exits",
    "training.workflow",
)
# They work with what the exporter writes.
WITH_EXPORTS = ("training.exits", "training.workflow.export")


def imports(file: Path) -> set[str]:
    """Return the modules of ours that `file` imports: also in functions, under TYPE_CHECKING, and by name."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{file}: relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)  # `training.__main__` imports its steps by name
    return names & MODULES.keys() - {"training", "onnx_export"}


def folder(module: str) -> str | None:
    return next((each for each in FOLDERS if f"{module}.".startswith(f"{each}.")), None)


def test_there_is_no_import_cycle() -> None:
    TopologicalSorter({module: imports(file) for module, file in MODULES.items()}).prepare()


def test_every_module_of_training_is_in_a_folder() -> None:
    on_top = {module for module in MODULES if module.startswith("training") and not folder(module)}
    assert on_top == {"training", "training.__main__", "training.errors", "training.files"}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_imports_only_the_folders_before_it(name: str) -> None:
    allowed = {None, *FOLDERS[: FOLDERS.index(name) + 1]}
    for module, file in MODULES.items():
        if folder(module) == name:
            assert {folder(each) for each in imports(file)} <= allowed, module
            exports = any(each.startswith("onnx_export") for each in imports(file))
            assert not exports or module.startswith(WITH_EXPORTS), module
