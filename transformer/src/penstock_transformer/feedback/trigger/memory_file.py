"""What the trigger remembers, in a file beside the log: LOG/<model>/retraining.json, and a lock that one watcher at a time holds.

Invariant: the file is there whole or as it was before; what it says was on the disk before anybody was asked for anything by it.
Where the file system knows no locks, or the file is lost, the windows' ids remain: the same window is the same retraining.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from penstock.errors import Conflict, InvalidInput
from penstock_transformer.feedback.folder import LogFolder
from penstock_transformer.feedback.trigger.machine import Memory

_decode = msgspec.json.Decoder(Memory).decode
_encode = msgspec.json.Encoder().encode


class MemoryFile:
    """One model's."""

    def __init__(self, folder: LogFolder) -> None:
        self.path = folder.path / "retraining.json"
        self._lock = folder.path / "retraining.lock"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock. Raises Conflict while another watcher does."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(f"another watcher is at work: it holds {self._lock}") from None
            yield

    def read(self) -> Memory:
        """As it stands; empty where there is none. Raises InvalidInput for one that is not the trigger's."""
        try:
            return _decode(self.path.read_bytes())
        except FileNotFoundError:
            return Memory()
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"cannot be read: {error}; remove it, and the next window is judged anew"[:500], field=str(self.path)
            ) from None

    def write(self, memory: Memory) -> None:
        """On the disk when this returns."""
        aside = self.path.with_suffix(".writing")
        with aside.open("wb") as file:
            file.write(_encode(memory))
            file.flush()
            os.fsync(file.fileno())
        aside.rename(self.path)
