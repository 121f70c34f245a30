"""Whose cluster it is, where more than one may want one: CI gives its own a name, and ends no other.

    PENSTOCK_CLUSTER_OWNER=NAME make cluster-up          … cluster-down, with the same name

Invariant: with a name, `up` neither joins nor clears away what another made, and `down` ends the cluster of that name only, with
every process that was started under it. Without one, `up` joins no cluster that has a name, which would end while it is used;
`down` ends whichever is up.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from bed import daemons
from bed.places import RUN
from bed.trouble import BedError

VARIABLE = "PENSTOCK_CLUSTER_OWNER"
OWNER = os.environ.get(VARIABLE, "")
_FILE = RUN / "owner"
_SHIM = b"containerd-shim-runc-v2"
_STOP_S = 10.0
_PAUSE_S = 0.1


def owner() -> str:
    """Whose cluster is there; empty if it has no name, and if there is none."""
    return _FILE.read_text() if _FILE.exists() else ""


def claim() -> None:
    """Write our name down, before anything is made."""
    RUN.mkdir(parents=True, exist_ok=True)
    _FILE.write_text(OWNER)


def is_ours() -> bool:
    """Whether what is there has our name; one without a name is everybody's who has none."""
    return owner() == OWNER


def check() -> None:
    """Raises BedError if the cluster that is there is another's."""
    if not is_ours():
        raise BedError(f"the cluster of this machine is another's ({owner() or 'made by hand'}): make cluster-down ends it")


def end_processes() -> None:
    """End what was started under our name, in whichever session, but for the cluster's daemons: those are ended in order."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + _STOP_S
        told: set[int] = set()
        # One that ends may have begun others meanwhile.
        while (left := processes()) and time.monotonic() < deadline:
            for pid in {*left} - told:
                with suppress(ProcessLookupError):
                    os.kill(pid, how)
            told.update(left)
            time.sleep(_PAUSE_S)


def processes() -> list[int]:
    """Those whose environment has our name, without ourselves and whoever called us, the daemons and what they run."""
    if not OWNER:
        return []
    mark = f"{VARIABLE}={OWNER}".encode()
    spared, sessions = _lineage(), daemons.running()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in spared:
            continue
        # Ended meanwhile, or somebody's whom we may not ask.
        with suppress(OSError):
            if mark not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            program = (entry / "cmdline").read_bytes().split(b"\0")[0]
            # Who ends a shim first never finds its container again.
            if not program.endswith(_SHIM) and os.getsid(int(entry.name)) not in sessions:
                found.append(int(entry.name))
    return found


def _lineage() -> set[int]:
    """This process and those above it."""
    pid, above = os.getpid(), set()
    while pid > 0:
        above.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return above
