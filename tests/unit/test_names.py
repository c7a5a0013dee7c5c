"""Names of tests are sentences that fit into one line of a report."""

import ast

from tests.support.process import ROOT

LONGEST = 70


def test_no_test_name_is_longer_than_70_characters() -> None:
    too_long = [
        f"{file.relative_to(ROOT)}: {node.name}"
        for file in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_") and len(node.name) > LONGEST
    ]
    assert too_long == []
