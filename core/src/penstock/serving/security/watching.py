"""Files that may be replaced while the program runs: certificates, keys, lists of callers.

Kubernetes swaps a mounted secret by pointing the `..data` symlink elsewhere; others rename or rewrite in place. All of that
changes what `stat` says of the path, so looking is a few microseconds, and it is done by whoever needs the file, at most once
a second: no thread, no task, nothing to stop.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

LOOK_S = 1.0

Stamp = tuple[tuple[int, int, int, int] | None, ...]


def stamp(paths: Sequence[Path]) -> Stamp:
    """What tells one content of the files from the next; None for a file that is not there."""
    return tuple(_stamp(path) for path in paths)


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Watch:
    """Says when files have changed since they were last looked at. Safe from several threads: at worst two see one change."""

    def __init__(self, paths: Sequence[Path], clock: Callable[[], float] = time.monotonic) -> None:
        self._paths = tuple(paths)
        self._clock = clock
        self._next = clock() + LOOK_S
        self._seen = stamp(self._paths)

    def changed(self) -> bool:
        """True once for each change; looks at most once in `LOOK_S`."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + LOOK_S
        found = stamp(self._paths)
        if found == self._seen:
            return False
        self._seen = found
        return True
