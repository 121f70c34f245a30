"""What is public in the operator says what it is for."""

import ast
from pathlib import Path

SOURCES = Path(__file__).parents[3] / "operator/src/penstock_operator"


def test_every_public_function_and_class_has_its_sentence() -> None:
    public = [
        (path.name, node)
        for path in SOURCES.rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    assert len(public) > 100
    assert [f"{name}:{node.lineno} {node.name}" for name, node in public if not ast.get_docstring(node)] == []
