"""schemathesis, unmodified, over a server's `/openapi.json`: all its checks.

judge_document(server.url, tmp_path, examples=2) -> Judged(good, cases, said)
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from penstock.testing.programs import schemathesis

# What no JSON Schema can say, so that a request which fits the schema may still be refused:
#   400  a tensor's data against its shape, a feature's encoding, text that is no CSV
#   404  the id of a record, the name of a file
#   409  a record that is there, or is newer
#   413  the elements that a shape asks for
#   415  a form that this model does not take
#   426  a WebSocket's path without its handshake
_CHECKS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "404", "409", "413", "415", "426"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422", "426", "428"]
"""
_CASES = re.compile(r"([\d,]+) generated")


@dataclass(frozen=True, slots=True)
class Judged:
    """Whether nothing was found, in how many cases, and schemathesis's report."""

    good: bool
    cases: int
    said: str


def judge_document(url: str, directory: Path, *, examples: int, leave_out: str, timeout_s: float | None = None) -> Judged:
    """Let schemathesis at the server: what covers every schema, and up to `examples` made-up cases for each operation, the same
    every time. `leave_out` is an expression of paths. `directory` takes its files. Raises ProgramMissing."""
    config = directory / "schemathesis.toml"
    config.write_text(_CHECKS)
    command = [schemathesis().path, "--config-file", str(config), "run", f"{url}/openapi.json", "--checks", "all"]
    # It has no way to send examples of NDJSON and Arrow, hence no phase of examples.
    command += ["--max-examples", str(examples), "--seed", "1", "--phases", "coverage,fuzzing"]
    command += ["--suppress-health-check", "all", "--exclude-path-regex", leave_out, "--request-timeout", "60"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=timeout_s, check=False)
    found = _CASES.search(done.stdout)
    return Judged(done.returncode == 0, int(found[1].replace(",", "")) if found else 0, done.stdout + done.stderr)
