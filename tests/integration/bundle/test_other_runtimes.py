"""Encoder graphs on runtimes that are not this one: the oldest supported ONNX Runtime, and ONNX Runtime Web."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.testing.encoders import write_cases

HERE = Path(__file__).parent / "runtimes"
TIMEOUT_S = 240


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cases") / "cases.json"
    assert write_cases(path) > 200
    return path


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=cwd, check=False)


def test_this_onnx_runtime(cases: Path) -> None:
    done = run(sys.executable, str(HERE / "check.py"), str(cases))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "version",
    [
        pytest.param(
            "1.17.3", marks=pytest.mark.skipif(sys.version_info >= (3, 13), reason="onnxruntime 1.17 has no wheel for 3.13")
        ),
        "1.20.1",
    ],
)
def test_the_oldest_onnx_runtimes(cases: Path, version: str, tmp_path: Path) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if uv is None:
        pytest.skip("needs uv, to install an old onnxruntime beside this one: pip install uv")
    python = tmp_path / "old/bin/python"
    made = run(uv, "venv", "-q", "--python", sys.executable, str(tmp_path / "old"))
    numpy = "numpy<2" if version.startswith("1.17") else "numpy"
    made = run(uv, "pip", "install", "-q", "--python", str(python), f"onnxruntime=={version}", numpy)
    if made.returncode:
        pytest.skip(f"needs onnxruntime {version} from a package index: {made.stderr.strip()[-200:]}")
    done = run(str(python), str(HERE / "check.py"), str(cases))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert f"onnxruntime {version}" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_onnx_runtime_web(cases: Path, tmp_path: Path) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("needs node and npm: apt-get install nodejs npm")
    (tmp_path / "package.json").write_text('{"private": true}')
    made = run("npm", "install", "--no-audit", "--no-fund", "onnxruntime-web@1.17.3", cwd=tmp_path)
    if made.returncode:
        pytest.skip(f"needs onnxruntime-web from an npm registry: {made.stderr.strip()[-200:]}")
    shutil.copy(HERE / "check.cjs", tmp_path)
    done = run("node", "check.cjs", str(cases), cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
