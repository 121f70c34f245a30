"""CI fails on a test that is skipped for a reason that it does not name, as pytest itself reports skips."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools/check_skips.py"
MAY, MUST_NOT = "needs a Kubernetes cluster: make test-cluster", "node is missing: apt-get install nodejs"


@pytest.mark.parametrize(
    ("reasons", "wrong"), [([MAY], []), ([MAY, MUST_NOT], [MUST_NOT]), ([], []), ([f"no: {MAY}"], [f"no: {MAY}"])]
)
def test_skips_that_have_no_place_here_are_named(tmp_path: Path, reasons: list[str], wrong: list[str]) -> None:
    """The log is what pytest writes of real skips: by a mark, and from within."""
    tests = [
        f"@pytest.mark.skip(reason={reason!r})\ndef test_mark_{at}(): ...\ndef test_call_{at}(): pytest.skip({reason!r})\n"
        for at, reason in enumerate(reasons)
    ]
    (tmp_path / "test_some.py").write_text("import pytest\n" + "".join(tests) + "def test_here(): print('SKIPPED')\n")
    command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    log = tmp_path / "log"
    ran = subprocess.run([*command, str(tmp_path / "test_some.py")], capture_output=True, text=True, check=True)
    log.write_text(ran.stdout)
    found = runpy.run_path(str(SCRIPT))["unexpected"](ran.stdout)
    assert len(found) == 2 * len(wrong)
    assert all(any(line.endswith(f": {reason}") for reason in wrong) and "test_some.py" in line for line in found)
    checked = subprocess.run([sys.executable, SCRIPT, log], capture_output=True, text=True, check=False)
    assert checked.returncode == bool(wrong)
    assert all(reason in checked.stdout for reason in wrong)
