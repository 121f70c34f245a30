"""schemathesis, unmodified, over `/openapi.json` of a real server: every check, on every path."""

import subprocess
from pathlib import Path

import pytest

from penstock.testing.programs import ProgramMissing, schemathesis
from penstock.testing.server import ServerProcess

CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.slow
def test_every_path_answers_as_it_is_documented(server: ServerProcess, tmp_path: Path) -> None:
    try:
        program = schemathesis()
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    command = [program.path, "--config-file", str(CONFIG), "run", f"{server.url}/openapi.json", "--checks", "all"]
    # The same cases every time, of one model and one version: what is new is looked for by running it longer. It has no way to
    # send examples of NDJSON and Arrow; `test_documentation.py` sends those.
    limits = ["--max-examples", "2", "--seed", "1", "--phases", "coverage,fuzzing", "--suppress-health-check", "all"]
    limits += ["--exclude-path-regex", "pictures|versions"]
    done = subprocess.run([*command, *limits], cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
