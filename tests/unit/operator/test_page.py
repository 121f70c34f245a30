"""docs/model-version.md: every field of the spec and every reason that the operator gives is told, here or with the rollouts."""

import ast
import re
from pathlib import Path
from typing import Any

from penstock_operator.stage import Stage

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/model-version.md").read_text()
PAGES = PAGE + (ROOT / "docs/rollouts.md").read_text()
SOURCES = ("acknowledgement", "advance", "baseline", "status", "verdict")
WORD = re.compile(r"([A-Z][a-z]+){1,6}")
ELSEWHERE = ("errorRate", "latencyP99", "outputDrift", "disagreement", "quality", "requests", "limits")
NO_REASONS = {*Stage, "Baseline", "False", "None", "Ready", "Unknown", "Verification", "Without"}


def reasons() -> set[str]:
    """Words in capitals that the operator's sources hold as strings: reasons, conditions and stages."""
    found = set()
    for name in SOURCES:
        tree = ast.parse((ROOT / f"operator/src/penstock_operator/{name}.py").read_text())
        annotations = {id(inner) for node in ast.walk(tree) for inner in ast.walk(getattr(node, "returns", None) or ast.Pass())}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in annotations:
                found |= {node.value} if WORD.fullmatch(node.value) else set()
    return found - NO_REASONS


def test_every_reason_is_told() -> None:
    told = set(re.findall(r"`([A-Za-z]+)`", PAGES))
    assert len(reasons()) > 40
    assert reasons() - told == set()


def test_every_field_is_told_and_described(crd: dict[str, Any]) -> None:
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    for path, described in [*fields(schema["spec"]), *fields(schema["status"])]:
        assert described, f"{path}: kubectl explain has nothing to say of it"
    told = {word for span in re.findall(r"`([^`\n]+)`", PAGE) for word in re.findall(r"\w+", span)}
    assert {path.rpartition(".")[2] for path, _ in fields(schema["spec"])} - set(ELSEWHERE) - told == set()


def fields(schema: dict[str, Any], path: str = "") -> list[tuple[str, bool]]:
    """Every property but those of conditions, which all of Kubernetes has, by path, and whether it has a description."""
    found = []
    for name, inner in (schema.get("properties") or {}).items():
        found += [(f"{path}.{name}", "description" in inner), *fields(inner, f"{path}.{name}")]
    return found
