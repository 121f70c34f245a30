"""Opens bundles and prints a line of JSON of each: what was wrong with it, and every file that Python opened for it.

A program, since an audit hook stays for as long as its process. In one that runs tests under coverage it would be Python code in
the middle of `sys.settrace`, where threads take turns; the next one to begin there ends with "Cannot install a trace function
while another trace function is being installed" (CPython 3.11).
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from penstock.bundle.reading import open_bundle
from penstock.errors import PenstockError

_opened: list[str] = []


def _seen(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        _opened.append(os.path.realpath(os.fsdecode(arguments[0])))


def _open(directory: Path) -> dict[str, Any]:
    _opened.clear()
    field, message = None, ""
    try:
        open_bundle(directory)
    except PenstockError as error:
        field, message = error.field, error.message
    return {"field": field, "message": message, "opened": list(_opened)}


if __name__ == "__main__":
    sys.addaudithook(_seen)
    for argument in sys.argv[1:]:
        print(json.dumps(_open(Path(argument))))
