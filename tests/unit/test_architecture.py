"""The invariants of docs/architecture.md that can be read off the source; the others are named beside their tests."""

import ast
import importlib.util
import re
import subprocess
import sys

import pytest

from tests.support.process import ROOT

MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in (ROOT / "app").rglob("*.py")
}
LEAVES = {
    "app.types",
    "app.errors",
    "app.logs",
    "app.inference.text",
    "app.cpu",
    "app.scheduling.cost",
    "app.serving.cache",
}


def imports(module: str) -> set[str]:
    """Everything that a module imports, at its top or later, by full name."""
    found = set()
    package = module if MODULES[module].stem == "__init__" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            name = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            found |= {name} | {f"{name}.{alias.name}" for alias in node.names}
    return found


def importers(package: str) -> set[str]:
    return {
        module
        for module in MODULES
        if any(name == package or name.startswith(f"{package}.") for name in imports(module))
    }


def ours(module: str) -> set[str]:
    return imports(module) & MODULES.keys() - {"app"}


@pytest.mark.parametrize("package", ["fastapi", "starlette"])
def test_only_api_and_main_know_the_web_framework(package: str) -> None:
    assert {module for module in importers(package) if not module.startswith("app.api")} <= {"app.main"}


def test_only_cli_main_and_the_process_know_the_settings() -> None:
    assert importers("app.config") == {
        "app.cli.flags",
        "app.cli.predict",
        "app.cli.serve",
        "app.main",
        "app.server.process",
        "app.serving.loader",
    }


def test_the_scheduler_knows_neither_tokenizer_nor_backend_nor_http() -> None:
    policy = {"app.scheduling.admission", "app.scheduling.queue", "app.scheduling.cost", "app.scheduling.fairness"}
    assert ours("app.scheduling.scheduler") == policy | {"app.errors", "app.scheduling.item", "app.scheduling.executor"}
    assert ours("app.scheduling.admission") == {"app.errors"}
    assert ours("app.scheduling.executor") == {"app.cpu", "app.errors"}
    assert (
        ours("app.scheduling.item") - {"app.scheduling.admission"}
        == ours("app.scheduling.fairness")
        == {"app.scheduling.queue"}
    )
    assert ours("app.scheduling.queue") == {"app.scheduling.cost"}
    pure = set.union(*map(imports, policy))
    assert not pure & {"asyncio", "threading", "time"}


@pytest.mark.parametrize(
    ("package", "module"),
    [
        ("torch", "app.inference.backends.torch"),
        ("transformers", "app.inference.backends.torch"),
        ("onnxruntime", "app.inference.backends.onnx"),
    ],
)
def test_a_runtime_is_imported_by_its_backend_alone(package: str, module: str) -> None:
    assert importers(package) == {module}


def test_leaves_import_nothing_of_ours() -> None:
    assert {module: ours(module) for module in LEAVES} == {module: set() for module in LEAVES}


def test_the_app_knows_nothing_of_the_offline_side() -> None:
    assert importers("training") | importers("onnx_export") | importers("perf") | importers("tests") == set()


def test_imports_never_go_round() -> None:
    graph = {module: ours(module) for module in MODULES}
    while leaves := {module for module in graph if not graph[module] & graph.keys()}:
        graph = {module: needs for module, needs in graph.items() if module not in leaves}
    assert graph == {}


def test_the_contract_of_a_backend_fits_on_a_screen() -> None:
    assert len(MODULES["app.inference.backends.base"].read_text().splitlines()) <= 30


def test_one_noun_a_file() -> None:
    long = {module: lines for module, file in MODULES.items() if (lines := len(file.read_text().splitlines())) > 260}
    assert long == {}


@pytest.mark.parametrize("module", ["app.main", "app.cli", "app.server.process"])
def test_importing_the_app_imports_no_runtime(module: str) -> None:
    heavy = ("torch", "transformers", "onnxruntime")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_invariant_names_a_test_that_exists() -> None:
    """docs/architecture.md says of each invariant which tests hold it."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    section = text[text.index("## Invariants") :]
    numbered = re.findall(r"^(\d+)\. ", section, flags=re.MULTILINE)
    assert numbered == [str(number) for number in range(1, 9)]
    for item in re.split(r"^\d+\. ", section, flags=re.MULTILINE)[1:]:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", item)
        assert named, item
        for file, name in named:
            source = (ROOT / file).read_text()
            assert not name or re.search(rf"(def|class) {name}\b", source), f"{file}::{name}"
