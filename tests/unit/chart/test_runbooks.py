"""What runbooks and pages tell people to type selects pods that are there."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
OTHERS = {
    ("component", "predictor"), ("component", "transformer"),  # KServe's
}  # fmt: skip


def selectors() -> Iterator[tuple[str, str, str]]:
    """Page, key and value of each label by which a command selects, but for values that the reader puts in."""
    for page in PAGES:
        for labels in re.findall(r"\s(?:-l|--selector)[ =]([\w./=,-]+)", page.read_text()):
            for label in labels.split(","):
                key, _, value = label.partition("=")
                if not re.match(r"[A-Z]", value):
                    yield page.name, key, value


def test_labels_that_commands_select_by_are_given(render: Callable[..., Sequence[dict[str, Any]]]) -> None:
    given = set(OTHERS)
    for document in render({}, "everything"):
        pod = document.get("spec", {}).get("template", {}).get("metadata", {})
        given |= set((pod.get("labels") or {}).items())
    asked = list(selectors())
    assert len(asked) > 8
    assert [one for one in asked if one[1:] not in given and not one[2].startswith("VERSION")] == []
