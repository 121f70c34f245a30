"""The cluster's daemons: processes that outlive the command which started them, known by a file with their id and start time.

Invariant: a process is only ever signalled while its start time is the one that was written down; an id that the kernel gave to
somebody else is left alone.
"""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bed.places import RUN
from bed.trouble import BedError

STOP_S = 15.0
_PAUSE_S = 0.05
# Those of this process: kept so that they are reaped, and that nobody warns of them.
_STARTED: list["subprocess.Popen[bytes]"] = []


def start(name: str, command: Sequence[str]) -> None:
    """Start it unless it runs; its output goes to `run/logs/NAME.log`."""
    if alive(name):
        return
    log = RUN / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=RUN, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    _STARTED.append(process)
    _file(name).write_text(f"{process.pid} {_started_at(process.pid)}")


def stop(name: str) -> None:
    """End it, at once if it does not end by itself within `STOP_S`; nothing if it does not run."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if not send(name, how):
            break
        deadline = time.monotonic() + STOP_S
        while alive(name) and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
    if alive(name):
        raise BedError(f"{name} does not end")
    _file(name).unlink(missing_ok=True)


def send(name: str, how: signal.Signals) -> bool:
    """Send it a signal; False if it does not run."""
    if not alive(name):
        return False
    os.kill(int(_file(name).read_text().split()[0]), how)
    return True


def alive(name: str) -> bool:
    """Whether it runs."""
    for process in _STARTED:
        process.poll()
    try:
        pid, started_at = _file(name).read_text().split()
    except (FileNotFoundError, ValueError):
        return False
    return _started_at(int(pid)) == started_at


def running() -> set[int]:
    """The ids of all that run, each the first of a session of its own."""
    return {int(file.read_text().split()[0]) for file in RUN.glob("*.pid") if alive(file.stem)}


def last_words(name: str, characters: int = 1500) -> str:
    """The end of its log."""
    log = RUN / "logs" / f"{name}.log"
    return log.read_text(errors="replace")[-characters:] if log.exists() else "(no log)"


def _file(name: str) -> Path:
    return RUN / f"{name}.pid"


def _started_at(pid: int) -> str:
    """The process's start in the kernel's ticks; empty if it is gone or only waits to be reaped (proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] == "Z" else fields[19]
