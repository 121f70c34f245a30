"""An SQLite file belongs to one process: its news stays in that process, and so does what it has claimed.

The lock is the kernel's (flock on `<file>.lock`), so that it goes when its process does, however that ends.
"""

import asyncio
import fcntl
import logging
import os
import time
from pathlib import Path

from penstock.errors import InvalidInput

logger = logging.getLogger(__name__)

_AGAIN_S = 0.1


class FileLock:
    """The lock beside one database file."""

    def __init__(self, path: Path) -> None:
        self._database = path
        self._path = path.with_name(path.name + ".lock")
        self._file: int | None = None

    async def take(self, most_s: float) -> None:
        """Wait for it so long. Raises InvalidInput if another process keeps it, or the folder cannot be written to."""
        deadline = time.monotonic() + most_s
        told = False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            # Made here, for its owner alone: SQLite would let everybody read what callers sent.
            os.close(os.open(self._database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise InvalidInput(f"{self._path}: {error.strerror}", field="database") from None
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    self.release()
                    raise InvalidInput(
                        f"{self._path.name.removesuffix('.lock')} is open in another process; an SQLite database is for one "
                        "process (--workers 1), PostgreSQL for many",
                        field="database",
                    ) from None
            if not told:
                told = True
                reason = f"{self._database.name} is open in another process"
                logger.warning("predictions database is waited for", extra={"reason": reason})
            await asyncio.sleep(_AGAIN_S)

    def release(self) -> None:
        """Give it back."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
