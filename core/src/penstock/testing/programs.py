"""Foreign programs that tests run: found, or a line that says how to get them. A test skips with that line.

program("node") -> its path          perf_analyzer() -> how to start NVIDIA's load generator
grpcurl() -> its path                helm(), kubeconform() -> their paths, kubernetes_schemas() -> what kubeconform judges by
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

_APT = {"node": "nodejs", "npm": "npm", "chromium": "chromium", "curl": "curl"}


class ProgramMissing(Exception):
    """A program is not installed; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Program:
    """How to start a program: its path, and what its environment needs beside our own."""

    path: str
    environment: dict[str, str]


def program(name: str) -> str:
    """The path of a program. Raises ProgramMissing."""
    found = shutil.which(name)
    if found is None:
        raise ProgramMissing(f"{name} is missing: apt-get install {_APT.get(name, name)}")
    return found


def cache_directory() -> Path:
    """Where `make` keeps what it downloads."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "penstock"


def perf_analyzer() -> Program:
    """NVIDIA's perf_analyzer, of the PATH or as `tools/get_judges.py` puts it into the cache. Raises ProgramMissing."""
    found = shutil.which("perf_analyzer")
    if found is not None:
        return Program(found, {})
    directory = cache_directory() / "perf_analyzer"
    path = directory / "bin" / "perf_analyzer"
    if not path.exists():
        raise ProgramMissing("perf_analyzer is missing: .venv/bin/python tools/get_judges.py")
    libraries = [str(directory / "nvidia" / "cuda_runtime" / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    return Program(str(path), {"LD_LIBRARY_PATH": ":".join(filter(None, libraries))})


def schemathesis() -> Program:
    """schemathesis, of the PATH or as `tools/get_judges.py` puts it into the cache. Raises ProgramMissing."""
    path = shutil.which("schemathesis") or str(cache_directory() / "schemathesis" / "bin" / "schemathesis")
    if not Path(path).exists():
        raise ProgramMissing("schemathesis is missing: .venv/bin/python tools/get_judges.py")
    return Program(path, {})


def grpcurl() -> str:
    """The path of grpcurl, of the PATH or as `tools/get_judges.py` puts it into the cache. Raises ProgramMissing."""
    built = cache_directory() / "go" / "bin" / "grpcurl"
    found = shutil.which("grpcurl") or (str(built) if built.exists() else None)
    if found is None:
        raise ProgramMissing("grpcurl is missing: install Go, then .venv/bin/python tools/get_judges.py")
    return found


def helm() -> str:
    """The path of helm as `tools/get_chart_judges.py` puts it into the cache, or of the PATH. Raises ProgramMissing."""
    return _built(cache_directory() / "kube" / "bin" / "helm", "helm")


def kubeconform() -> str:
    """The path of kubeconform as `tools/get_chart_judges.py` puts it into the cache, or of the PATH. Raises ProgramMissing."""
    return _built(cache_directory() / "go" / "bin" / "kubeconform", "kubeconform")


def kubernetes_schemas() -> Path:
    """The folder of the resources' JSON Schemas (`penstock.testing.kubernetes_schemas`). Raises ProgramMissing."""
    folder = cache_directory() / "kube" / "schemas"
    if not (folder / "complete").exists():
        raise ProgramMissing("Kubernetes' schemas are missing: install Go, then .venv/bin/python tools/get_chart_judges.py")
    return folder


def _built(path: Path, name: str) -> str:
    found = str(path) if path.exists() else shutil.which(name)
    if found is None:
        raise ProgramMissing(f"{name} is missing: install Go, then .venv/bin/python tools/get_chart_judges.py")
    return found
