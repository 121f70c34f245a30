"""Puts the Go toolchain into the cache where there is no Go: Debian's own is too old for helm, Kubernetes and the chart's judges.

The toolchain is a module like any other: it comes from the module proxy that GOPROXY names, or the public one, and its SHA-256 is
held to what stands here. The Makefile ends PATH with the folder that this fills. Called by `make test` and the cluster's
commands; on Debian as root only, as whatever else a machine is given.
"""

import hashlib
import io
import os
import platform
import shutil
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path

VERSION = "1.26.8"
SHA256 = {
    "amd64": "30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7",
    "arm64": "02b36b6787b3ac767668f630e2998df45a3b1f9ffee08d1bf3ef6487cd658d99",
}
PUBLIC_PROXY = "https://proxy.golang.org"
TIMEOUT_S = 300.0


def archive_address(machine: str) -> str:
    """Where the toolchain for a machine lies: in the first proxy that GOPROXY names."""
    named = os.environ.get("GOPROXY", "").replace("|", ",").split(",")[0]
    proxy = named if named.startswith("http") else PUBLIC_PROXY
    return f"{proxy.rstrip('/')}/golang.org/toolchain/@v/v0.0.1-go{VERSION}.linux-{machine}.zip"


def unpack(archive: bytes, target: Path) -> None:
    """Write the toolchain's files; the folder gets its name when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder, zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(folder)
        (root,) = Path(folder, "golang.org").iterdir()
        # The proxy's archives lose the bits that say what is a program.
        for programs in (root / "bin", root / "pkg" / "tool"):
            for path in programs.rglob("*"):
                path.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        root.rename(target)


def main() -> None:
    target = Path(sys.argv[1])
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine())
    if (target / "bin" / "go").exists() or shutil.which("go") or machine is None:
        return
    if os.getuid() or not Path("/etc/debian_version").exists():
        print("Go is missing; the tests that need what it builds are skipped (install Go 1.24 or later)")
        return
    print(f"getting Go {VERSION}", flush=True)
    try:
        with urllib.request.urlopen(archive_address(machine), timeout=TIMEOUT_S) as answer:
            archive = answer.read()
    except OSError as error:
        print(f"Go could not be had; the tests that need what it builds are skipped ({error})")
        return
    if hashlib.sha256(archive).hexdigest() != SHA256[machine]:
        sys.exit(f"Go {VERSION}: the archive's SHA-256 is not the one that {__file__} names")
    unpack(archive, target)


if __name__ == "__main__":
    main()
