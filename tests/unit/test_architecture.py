"""The invariants of docs/architecture.md that can be checked by reading the source."""

import ast
import importlib
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
FOLDERS = {module for module, file in MODULES.items() if file.stem == "__init__" and module.count(".") == 1}
# What each folder may import, beside itself and the single files at the top of `app`.
DOWN = {
    "app.cli": {
        "app.server",
        "app.access",
        "app.jobs",
        "app.tables",
        "app.serving",
        "app.artifacts",
        "app.inference",
        "app.catalog",
        "app.comparison",
        "app.scheduling",
        "app.capacity",
    },
    "app.server": {"app.api"},
    "app.api": {"app.access", "app.serving", "app.jobs"},
    "app.serving": {"app.scheduling", "app.catalog", "app.inference"},
    "app.access": set(),
    "app.catalog": set(),
    "app.jobs": {"app.tables"},
    "app.tables": {"app.inference"},
    "app.artifacts": {"app.inference"},
    "app.inference": set(),
    "app.scheduling": set(),
    "app.comparison": set(),
    "app.capacity": {"app.scheduling"},
}
LEAVES = {
    "app.types",
    "app.errors",
    "app.metrics",
    "app.model_metrics",
    "app.logs",
    "app.cpu",
    "app.sockets",
    "app.allocator",
    "app.trace_context",
}


def imported_names(module: str) -> set[tuple[str, str]]:
    """Everything that a module imports, at its top or later, as (module, name); the name is "" for a whole module."""
    names = set()
    package = module if MODULES[module].stem == "__init__" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names |= {(source, alias.name) for alias in node.names}
    return names


def imports(module: str) -> set[str]:
    """Every full name that an import may mean: `from a import b` means `a` and `a.b`."""
    return {name for source, name in imported_names(module) for name in (source, f"{source}.{name}")}


def importers(package: str) -> set[str]:
    return {
        module
        for module in MODULES
        if any(name == package or name.startswith(f"{package}.") for name in imports(module))
    }


def imported_modules(module: str) -> set[str]:
    names = {f"{source}.{name}" if f"{source}.{name}" in MODULES else source for source, name in imported_names(module)}
    return names & MODULES.keys() - {"app"}


def folder_of(module: str) -> str | None:
    return next((folder for folder in FOLDERS if module == folder or module.startswith(f"{folder}.")), None)


def test_imports_between_folders_go_down() -> None:
    assert DOWN.keys() == FOLDERS
    for module in MODULES:
        if folder := folder_of(module):
            others = {folder_of(name) for name in imported_modules(module)} - {None, folder}
            assert others <= DOWN[folder], module


def test_folders_import_only_public_names_of_other_folders() -> None:
    for module in MODULES:
        for source, name in imported_names(module):
            folder = folder_of(source)
            if folder and folder != folder_of(module):
                assert source == folder, f"{module} imports {source}"
                assert name in importlib.import_module(folder).__all__, f"{module} imports {name} from {folder}"


def test_imports_have_no_circles() -> None:
    graph = {module: imported_modules(module) for module in MODULES}
    while leaves := {module for module in graph if not graph[module] & graph.keys()}:
        graph = {module: needs for module, needs in graph.items() if module not in leaves}
    assert graph == {}


def test_leaves_import_nothing_of_ours_but_leaves() -> None:
    for module in LEAVES:
        assert imported_modules(module) <= LEAVES, module


@pytest.mark.parametrize("package", ["fastapi", "starlette"])
def test_only_api_and_main_know_the_web_framework(package: str) -> None:
    assert {module for module in importers(package) if not module.startswith("app.api")} <= {"app.main"}


def test_only_cli_server_and_main_know_the_settings() -> None:
    knowing = {folder_of(module) or module for module in importers("app.config")}
    assert knowing == {"app.cli", "app.server", "app.identity", "app.main", "app.models"}


def test_undocumented_names_of_uvicorn_are_in_one_file() -> None:
    assert importers("uvicorn.protocols") == {"app.server.protocol"}
    assert importers("uvicorn") == {"app.server.protocol", "app.server.draining"}
    assert importers("starlette._utils") | importers("fastapi._compat") == set()


def test_the_policy_of_the_scheduler_is_pure() -> None:
    policy = {f"app.scheduling.{name}" for name in ("admission", "cost", "entry", "fairness", "lane", "queue", "slots")}
    for module in policy:
        assert not imports(module) & {"asyncio", "threading", "time"}, module
        assert imported_modules(module) <= policy | {"app.errors", "app.scheduling.item"}, module


@pytest.mark.parametrize(("folder", "others"), [("comparison", {"app.types"}), ("capacity", {"app.scheduling"})])
def test_comparisons_and_simulations_are_pure(folder: str, others: set[str]) -> None:
    for module in [name for name in MODULES if folder_of(name) == f"app.{folder}"]:
        assert not imports(module) & {"asyncio", "threading", "time", "socket", "http", "pathlib", "os"}, module
        assert imported_modules(module) <= others | {name for name in MODULES if f"app.{folder}" in name}, module


@pytest.mark.parametrize("name", ["lines", "tokens", "parser"])
def test_the_parsers_of_bodies_do_no_io(name: str) -> None:
    assert not imports(f"app.api.{name}") & {"asyncio", "threading", "time", "socket"}


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


def test_redis_and_its_queue_are_imported_by_jobs_and_shared_stores_alone() -> None:
    stores = {module for module in importers("redis") if folder_of(module) != "app.jobs"}
    assert stores == {"app.access.rate_limit", "app.serving.shared.store"}
    assert {folder_of(module) for module in importers("rq")} == {"app.jobs"}
    assert {folder_of(module) for module in importers("pyarrow")} == {"app.jobs", "app.tables"}


def test_signatures_and_file_systems_are_read_by_artifacts_alone() -> None:
    assert importers("fsspec") == {"app.artifacts.remote"}
    assert importers("model_signing") | importers("cryptography") == {"app.artifacts.signature"}
    code = "import sys, app.main, app.artifacts; "
    code += "print([name for name in ('fsspec', 'model_signing', 'cryptography') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_a_redis_nothing_of_it_is_imported() -> None:
    code = "import sys; from app.main import create_app; from app.config import load_settings; "
    code += "create_app(load_settings({'backend': 'mock'})); "
    code += "print([name for name in ('redis', 'rq', 'pyarrow') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_opentelemetry_is_imported_by_tracing_alone_and_only_if_it_is_on() -> None:
    assert importers("opentelemetry") == {"app.tracing"}
    assert importers("app.tracing") == {"app.main", "app.cli.worker"}
    code = "import sys; from app.main import create_app; from app.config import load_settings; "
    code += "create_app(load_settings({'backend': 'mock'})); "
    code += "print([name for name in ('app.tracing', 'opentelemetry.sdk') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["training", "onnx_export", "perf", "tests", "rt_sentiment_client"])
def test_the_app_does_not_import_what_uses_it(package: str) -> None:
    assert importers(package) == set()


def test_imports_inside_the_package_are_relative() -> None:
    """The package is called `app` in a working tree and `rt_sentiment` in the wheel."""
    for module, file in MODULES.items():
        assert not re.search(r"^\s*(from|import) app\b", file.read_text(), flags=re.MULTILINE), module


def test_the_contract_of_a_backend_fits_on_a_screen() -> None:
    assert len(MODULES["app.inference.backends.base"].read_text().splitlines()) <= 50


def test_no_file_is_long() -> None:
    long = {module: lines for module, file in MODULES.items() if (lines := len(file.read_text().splitlines())) > 270}
    assert long == {}


@pytest.mark.parametrize("module", ["app.main", "app.cli", "app.server"])
def test_importing_the_app_imports_no_runtime(module: str) -> None:
    heavy = ("torch", "transformers", "onnxruntime")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_invariant_names_a_test_that_exists() -> None:
    """docs/architecture.md says for each invariant which tests hold it."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    section = text[text.index("## Invariants") :]
    numbered = re.findall(r"^(\d+)\. ", section, flags=re.MULTILINE)
    assert numbered == [str(number) for number in range(1, len(numbered) + 1)]
    assert len(numbered) >= 8
    for item in re.split(r"^\d+\. ", section, flags=re.MULTILINE)[1:]:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", item)
        assert named, item
        for file, name in named:
            source = (ROOT / file).read_text()
            assert not name or re.search(rf"(def|class) {name}\b", source), f"{file}::{name}"
