"""The wall clock of our programs, stepped while they run: `Clock`. Kafka and PostgreSQL keep the right time.

libfaketime answers the programs when they ask what time it is: the right one and an offset, which a file holds. The clock that
only measures (`time.monotonic`) goes on as it is, as it does when an administrator or NTP sets a machine's time.
"""

import glob
import os
from pathlib import Path

_LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"
HOUR_S = 3600


def library() -> str | None:
    """Where libfaketime is; None if it is not installed."""
    return next(iter(glob.glob(_LIBRARY)), None)


class Clock:
    """`environment` is for those whose clock it shall be."""

    def __init__(self, directory: Path) -> None:
        found = library()
        if found is None:
            raise RuntimeError("libfaketime is missing: apt-get install faketime")
        self._file = directory / "clock"
        self.environment = {
            "LD_PRELOAD": found,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }
        self.step_to(0)

    def step_to(self, offset_s: int) -> None:
        """So many seconds off the right time, from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset_s:+d}s\n")
        os.replace(new, self._file)
