"""docs/protocols.md and SECURITY.md name tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocols.md").read_text()
POLICY = (ROOT / "SECURITY.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| call ", "| | "))]


def test_every_row_names_its_test() -> None:
    assert len(ROWS) > 20
    assert [row for row in ROWS if "`tests/" not in row] == []


def test_every_threat_names_its_test() -> None:
    table = POLICY.split("| threat | defence | where it is shown |")[1].split("\n\n")[0]
    rows = [line for line in table.splitlines()[2:] if line]
    assert len(rows) > 10
    assert [row for row in rows if "`tests/" not in row] == []


@pytest.mark.parametrize("page", [PAGE, POLICY], ids=["protocols", "security"])
def test_every_test_that_is_named_exists(page: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page)
    missing = [f"{file}::{name}" for file, name in named if not _is_there(ROOT / file, name)]
    assert missing == []


def _is_there(file: Path, name: str) -> bool:
    return file.is_file() and (not name or re.search(rf"^(async )?def {name}\(", file.read_text(), re.MULTILINE) is not None)
