"""Imports in perf go one way, and nothing outside perf imports it."""

import ast
import importlib.util
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.process import ROOT


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(file: Path) -> set[str]:
    """Everything that a file imports, including imports inside functions and under TYPE_CHECKING."""
    package = ".".join(file.parent.relative_to(ROOT).parts)
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


GRAPH = {name_of(file): imports(file) for file in (ROOT / "perf").rglob("*.py")}


def folder(module: str) -> str:
    """`perf.load` for a module in that folder, `perf` for one at the top."""
    return ".".join(module.split(".")[:2]) if (ROOT / "perf" / module.split(".")[1]).is_dir() else "perf"


def test_perf_has_no_import_circle() -> None:
    modules = set(GRAPH)
    assert len(modules) > 20
    TopologicalSorter({module: names & modules for module, names in GRAPH.items()}).prepare()  # raises CycleError


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("perf.load", set()),
        ("perf.peers", {"perf.load"}),
        ("perf.suite", {"perf.load", "perf.peers"}),
        ("perf.profile", {"perf.load"}),
        ("perf.training", set()),
    ],
)
def test_a_folder_imports_only_folders_below_it(name: str, allowed: set[str]) -> None:
    inside = [names for module, names in GRAPH.items() if module.startswith(f"{name}.")]
    assert inside
    used = {folder(imported) for names in inside for imported in names & set(GRAPH) if imported != "perf"}
    assert used - {name} <= allowed


@pytest.mark.parametrize("package", ["app", "training", "onnx_export", "nginx"])
def test_product_code_does_not_import_perf(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    importers = [name_of(file) for file in files if any(name.split(".")[0] == "perf" for name in imports(file))]
    assert importers == []
