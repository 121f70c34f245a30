"""Fails if a run of the tests skipped anything for another reason than those that CI may have: what the machine can run is run.

pytest -ra ... | tee LOG          python tools/check_skips.py LOG
"""

import re
import sys
from pathlib import Path

# What a machine that has never built Kubernetes, has no docker, or has more than a test needs, may skip.
MAY_SKIP = (
    r"needs a Kubernetes cluster: ",
    r"(etcd|kube-apiserver) is missing: ",
    r"the package lz4 is here: ",
    r"onnxruntime 1\.17 has no wheel for 3\.13$",
)
_SKIPPED = re.compile(r"^SKIPPED \[\d+\] (?P<where>\S+): (?P<reason>.*)$")
_ANY = re.compile("|".join(MAY_SKIP))


def unexpected(log: str) -> list[str]:
    """`place: reason` of each test that was skipped and should not have been, by pytest's short summary (`-ra`)."""
    found = (_SKIPPED.match(line) for line in log.splitlines())
    return [f"{skip['where']}: {skip['reason']}" for skip in found if skip and not _ANY.match(skip["reason"])]


def main() -> None:
    wrong = unexpected(Path(sys.argv[1]).read_text(errors="replace"))
    if wrong:
        print("\n".join(["=== skipped, though this machine should run it", *wrong]))
        sys.exit(1)


if __name__ == "__main__":
    main()
