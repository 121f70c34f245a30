"""Runs a foreign program for the bed; a failure becomes one BedError with the program's own words."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bed.trouble import BedError

SHOWN = 1500
TIMEOUT_S = 600.0


def run(
    command: Sequence[str | Path],
    *,
    text: str | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Its standard output. `text` goes to its standard input, `environment` on top of our own. Raises BedError."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, input=text, env={**os.environ, **(environment or {})}, cwd=directory, timeout=timeout_s,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise BedError(f"{words[0]} is missing") from None
    except subprocess.TimeoutExpired:
        raise BedError(f"{' '.join(words[:4])} … took longer than {timeout_s:.0f} s") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-SHOWN:]
        raise BedError(f"{' '.join(words[:6])} … failed with status {done.returncode}:\n{said}")
    return done.stdout


def succeeds(command: Sequence[str | Path], *, timeout_s: float = 30.0) -> bool:
    """Whether it ends with status 0."""
    try:
        return (
            subprocess.run([str(word) for word in command], capture_output=True, check=False, timeout=timeout_s).returncode == 0
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
