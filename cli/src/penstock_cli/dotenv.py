"""`.env` in the working directory: settings that a user does not want to type each time.

    NAME=value, one a line; `#` begins a comment line; quotes around a value are taken off; `export ` before a name is allowed

What the environment already has wins over the file.
"""

import os
import re
from pathlib import Path

from penstock.errors import InvalidInput
from penstock_cli.text_file import read_text

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


def read_env(text: str, file: str = ".env") -> dict[str, str]:
    """The variables of a file's text. Raises InvalidInput naming the line that is none."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None:
            raise InvalidInput(f"line {number}: expected NAME=value", field=file)
        found[match[1]] = _unquoted(match[2])
    return found


def load_env(directory: Path) -> None:
    """Add the variables of `directory`'s `.env` to the environment, where they are not set. Raises InvalidInput."""
    file = directory / ".env"
    if not file.is_file():
        return
    for name, value in read_env(read_text(file), str(file)).items():
        os.environ.setdefault(name, value)


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value.partition(" #")[0].rstrip()
