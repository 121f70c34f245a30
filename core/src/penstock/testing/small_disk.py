"""A disk that can be full: `fill` leaves not one block free, `free` gives all of it back. And a PostgreSQL on such a disk.

    with SmallDisk(folder, 8) as disk: disk.fill() … disk.free()
    with SmallPostgres() as postgres: postgres.fill() … postgres.free()

Data and write-ahead log of PostgreSQL lie on that disk. What happens then is up to PostgreSQL: as long as it only needs room for
data it refuses statements; once it cannot write its log it ends itself, and comes back when it is started and there is room.

Linux alone, and root: the disk is a small file system in memory.
"""

import errno
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Self

from penstock.testing.servers import PostgresServer, ServerMissing

_BLOCK = 4096


class SmallDisk:
    """A file system of so many MiB, mounted on `folder`, which is made for it. Raises ServerMissing where that cannot be."""

    def __init__(self, folder: Path, mib: int) -> None:
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0777", "tmpfs", str(folder)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if os.geteuid() or done.returncode:
            raise ServerMissing(f"a file system of its own needs root: {done.stderr.strip()}")
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no room."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (2**20, _BLOCK):
                with suppress(OSError):
                    while True:
                        if ballast.write(b"\0" * size) < size:
                            raise OSError(errno.ENOSPC, "full")

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Take it away, with all that is on it."""
        subprocess.run(["umount", "-l", str(self.folder)], check=False, capture_output=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SmallPostgres(PostgresServer):
    """See above. `mib`: how much the disk holds; a fresh cluster takes about 50."""

    def __init__(self, mib: int = 128) -> None:
        super().__init__()
        try:
            self._disk = SmallDisk(self.directory / "disk", mib)
        except ServerMissing:
            super().close()
            raise
        self._data = self._disk.folder / "data"

    def command(self) -> list[str]:
        """With as little of a log as it can do with."""
        return [*super().command(), "-c", "max_wal_size=32MB", "-c", "min_wal_size=32MB"]

    def fill(self) -> None:
        """Leave no room."""
        self._disk.fill()

    def free(self) -> None:
        """Give the room back, and start it if it has ended for want of it."""
        self._disk.free()
        if not self.running:
            self.start()

    def close(self) -> None:
        """End it and remove its disk."""
        self.kill()
        self._disk.close()
        super().close()
