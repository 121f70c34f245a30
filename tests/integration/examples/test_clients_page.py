"""docs/clients.md: its server is started and its Python and JavaScript run as they are written, each against that server."""

import re
from pathlib import Path
from typing import Any

import pytest

from penstock.testing.programs import ProgramMissing, program

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "clients.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The page's JavaScript shows no output: what it has found is asked for behind it.
SHOW = "\nconsole.log(bundle, predictions[0].label, predictions[0].scores.late, outputs.probabilities.shape);\n"
LABELLED = re.compile(r"flights@sha256:[0-9a-f]{64} (on time|late) ")


@pytest.fixture
def node() -> str:
    try:
        return program("node")
    except ProgramMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_code_of_the_clients_page_runs_as_it_is_written(reader: Any, first_run: Any, node: str) -> None:
    blocks = BLOCK.findall(PAGE.read_text())
    assert [language for language, _ in blocks] == ["sh", "python", "python", "python", "js"]
    (_, serve), (_, plain), (_, awaited), (_, submitted), (_, script) = blocks
    first_run.give(reader.folder)
    reader.run(serve)

    found = run(reader, "plain.py", plain)
    assert LABELLED.match(found)
    assert "'carrier': 'EV'" in found
    assert "'probabilities': array([[" in found

    assert re.match(r"1000 \[\[", run(reader, "awaited.py", awaited))

    assert run(reader, "submitted.py", submitted).startswith("succeeded ")

    modules = reader.folder / "node_modules"
    modules.mkdir()
    (modules / "penstock-client").symlink_to(ROOT / "clients" / "js")
    found = run(reader, "script.mjs", script + SHOW, node)
    assert LABELLED.match(found)
    assert re.search(r"0\.\d+ \[ 1, \d+ \]$", found.strip())


def run(reader: Any, name: str, text: str, command: str = "python") -> str:
    """What a block of the page prints."""
    (reader.folder / name).write_text(text.replace(":8080", f":{reader.port}"))
    printed: str = reader.run(f"{command} {name}")
    return printed
