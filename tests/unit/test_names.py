"""Names of tests are sentences that fit into one line of a report."""

import ast

from tests.support.process import ROOT

LONGEST = 70
# Files that still have longer names.
EXEMPT = {
    "unit/scheduling/test_admission.py",
    "unit/scheduling/test_queue.py",
    "unit/scheduling/test_scheduler.py",
    "unit/scheduling/test_waiting.py",
    "unit/serving/test_service.py",
}


def test_no_test_name_is_longer_than_70_characters() -> None:
    too_long = [
        f"{file}: {node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        if (file := path.relative_to(ROOT / "tests").as_posix()) not in EXEMPT
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_") and len(node.name) > LONGEST
    ]
    assert too_long == []
