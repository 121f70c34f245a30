"""Puts NVIDIA's perf_analyzer into the cache, for the tests that let it judge the server. Called by `make test`.

The program is in the tritonclient wheel up to 2.41 (later wheels of its own want a newer C library than Debian 12 has). It also
needs the CUDA runtime library, which another wheel has, and Debian's package libb64-0d; it does not need a GPU.
"""

import subprocess
import sys
from pathlib import Path

from penstock.testing.programs import cache_directory

WHEELS = ("tritonclient==2.41.0", "nvidia-cuda-runtime-cu12==12.9.79")


def main() -> int:
    target = cache_directory() / "perf_analyzer"
    if (target / "bin" / "perf_analyzer").exists():
        return 0
    uv = Path(sys.executable).parent / "uv"
    command = [str(uv), "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", str(target), *WHEELS]
    if subprocess.run(command, check=False).returncode:
        print("perf_analyzer could not be installed; the tests that need it are skipped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
