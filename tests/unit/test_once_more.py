"""What failed runs a second time where chance may explain it, and never where what is counted is what was lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci/once_more"
UNSTEADY = "tests/integration/serving/test_drain.py::test_a"


@pytest.mark.parametrize(
    ("failed", "again"),
    [
        ([UNSTEADY], True),
        (["tests/cluster/test_storage.py::test_a"], True),
        (["tests/cluster/test_rollouts.py::test_a"], False),
        ([UNSTEADY, "tests/integration/chaos/test_kills.py::test_a"], False),
        (["tests/unit/test_logs.py::test_a"], False),
        ([f"{UNSTEADY}[{number}]" for number in range(4)], False),
        ([], False),
    ],
)
def test_only_what_chance_may_explain_runs_again(tmp_path: Path, failed: list[str], again: bool) -> None:
    """The runner that it calls passes whatever it is given."""
    for folder in (".pytest_cache/v/cache", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".pytest_cache/v/cache/lastfailed").write_text(json.dumps(dict.fromkeys(failed, True)))
    runner = tmp_path / ".venv/bin/pytest"
    runner.write_text("#!/bin/sh\nexit 0\n")
    runner.chmod(0o755)
    done = subprocess.run([sys.executable, SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == again
    assert ("UNSTEADY" in done.stdout) == again
