"""A PostgreSQL on a disk of its own that can be full: `fill` leaves not one block free, `free` gives all of it back.

    with SmallPostgres() as postgres: postgres.fill() … postgres.free()

Data and write-ahead log lie on that disk. What happens then is up to PostgreSQL: as long as it only needs room for data it
refuses statements; once it cannot write its log it ends itself, and comes back when it is started and there is room.

Linux alone, and root: the disk is a small file system in memory.
"""

import errno
import os
import subprocess
from contextlib import suppress

from penstock.testing.servers import PostgresServer, ServerMissing

_BLOCK = 4096


class SmallPostgres(PostgresServer):
    """See above. `mib`: how much the disk holds; a fresh cluster takes about 50."""

    def __init__(self, mib: int = 128) -> None:
        super().__init__()
        disk = self.directory / "disk"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0777", "tmpfs", str(disk)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if os.geteuid() or done.returncode:
            super().close()
            raise ServerMissing(f"a file system of its own needs root: {done.stderr.strip()}")
        self._disk = disk
        self._data = disk / "data"
        self._ballast = disk / "ballast"

    def command(self) -> list[str]:
        """With as little of a log as it can do with."""
        return [*super().command(), "-c", "max_wal_size=32MB", "-c", "min_wal_size=32MB"]

    def fill(self) -> None:
        """Leave no room."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (2**20, _BLOCK):
                with suppress(OSError):
                    while True:
                        if ballast.write(b"\0" * size) < size:
                            raise OSError(errno.ENOSPC, "full")

    def free(self) -> None:
        """Give the room back, and start it if it has ended for want of it."""
        self._ballast.unlink(missing_ok=True)
        if not self.running:
            self.start()

    def close(self) -> None:
        """End it and remove its disk."""
        self.kill()
        subprocess.run(["umount", "-l", str(self._disk)], check=False, capture_output=True)
        super().close()
