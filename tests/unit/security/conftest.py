"""Keys in a file, without a server."""

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.serving.security.keys import new_key
from penstock.serving.security.scopes import read_scope

KeyFile = Callable[..., tuple[Path, list[bytes]]]


@pytest.fixture
def key_file(tmp_path: Path) -> KeyFile:
    """`key_file("predict:a", "admin", …)`: a file with one key for each list of scopes, and their Authorization headers."""

    def write(*scopes: str) -> tuple[Path, list[bytes]]:
        made = [new_key(f"caller-{n}", frozenset(map(read_scope, text.split(",")))) for n, text in enumerate(scopes)]
        path = tmp_path / "keys"
        path.write_text("".join(f"{entry.line()}\n" for _, entry in made))
        return path, [f"Bearer {text}".encode() for text, _ in made]

    return write
