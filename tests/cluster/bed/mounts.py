"""Mounts and shims under the bed's folder: what is left when containers were ended hard."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from bed.command import succeeds
from bed.places import RUN

_DEADLINE_S = 10.0


def mounted() -> list[str]:
    """Mount points under the bed's folder, innermost first."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return sorted((point for point in points if point.startswith(f"{RUN}/")), key=len, reverse=True)


def unmount_all() -> None:
    """Every one of them."""
    for point in mounted():
        succeeds(["umount", "--lazy", point])


def end_shims() -> None:
    """End containerd's shims, which outlive it, and the containers that they watch."""
    deadline = time.monotonic() + _DEADLINE_S
    while (left := processes()) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def processes() -> list[int]:
    """Shims by their command line, which names our socket, and their children: the containers' first processes."""
    address = str(RUN / "containerd.sock").encode()
    shims = set()
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError, IndexError, ValueError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"containerd-shim-runc-v2") and address in words:
                shims.add(int(entry.name))
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                parents[int(entry.name)] = int(fields[1])
    alive = [pid for pid in shims if pid in parents]
    return [*[pid for pid, parent in parents.items() if parent in shims], *alive]
