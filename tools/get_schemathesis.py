"""Puts schemathesis into the cache, in an environment of its own, for the test that lets it judge the OpenAPI document.

It wants other versions of what the tests use, so it cannot live beside them.
"""

import subprocess
import sys
from pathlib import Path

from penstock.testing.programs import cache_directory

VERSION = "schemathesis==4.32.5"


def main() -> int:
    target = cache_directory() / "schemathesis"
    if (target / "bin" / "schemathesis").exists():
        return 0
    uv = str(Path(sys.executable).parent / "uv")
    install = [uv, "pip", "install", "--quiet", "--python", str(target / "bin" / "python"), VERSION]
    made = subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(target)], check=False)
    if made.returncode or subprocess.run(install, check=False).returncode:
        print("schemathesis could not be installed; the test that needs it is skipped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
