"""The wall clock of our programs, stepped while they run: `Clock`. Kafka and PostgreSQL keep the right time.

What Python is told when it asks for the time is the right one and an offset, which a file holds (`stepped/sitecustomize.py`). The
clock that only measures goes on as it is, as it does when an administrator or NTP sets a machine's time.
"""

import os
from pathlib import Path

HOUR_S = 3600


class Clock:
    """`environment` is for those whose clock it shall be."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        stepped = str(Path(__file__).parent / "stepped")
        self.environment = {"PYTHONPATH": stepped, "PENSTOCK_CHAOS_CLOCK": str(self._file)}
        self.step_to(0)

    def step_to(self, offset_s: int) -> None:
        """So many seconds off the right time, from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(str(offset_s))
        os.replace(new, self._file)
