"""The local cache of fetched models: one directory a bundle, by digest, shared by all processes of the machine.

    CACHE/<key>.partial/…   files as they come, kept over restarts to be resumed
    CACHE/<key>/…           whole and checked: renamed in one step
    CACHE/<key>.lock        held while a key is fetched: of several workers one fetches, the others wait for it

Invariant: a directory without a suffix is complete and is never changed again; it is removed only when nobody wants it any more.
"""

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.errors import InvalidInput

log = logging.getLogger(__name__)

# A model that was replaced may still be wanted by a worker that has not looked yet, or by a roll-back.
_KEEP_S = 3600.0


class ModelCache:
    """Fetched models under one directory. Calls block."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def hold(self, key: str, fetch: Callable[[Path], None]) -> Path:
        """The directory of a key; `fetch` fills it if it is not here. Raises what `fetch` raises; what came so far stays."""
        final = self.directory / key
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with self._locked(key):
                if not final.is_dir():
                    partial = self.directory / f"{key}.partial"
                    partial.mkdir(exist_ok=True)
                    fetch(partial)
                    os.rename(partial, final)
                os.utime(final)
        except OSError as error:
            raise InvalidInput(f"{self.directory} cannot be written: {error.strerror}", field="model_cache") from error
        return final

    def discard(self, wanted: Collection[str]) -> None:
        """Remove what nobody has wanted for a while, all but `wanted`."""
        before = time.time() - _KEEP_S
        for path in self.directory.iterdir() if self.directory.is_dir() else ():
            try:
                key = path.name.partition(".")[0]
                if path.is_dir() and key not in wanted and path.stat().st_mtime < before:
                    with self._locked(key, wait=False):
                        log.info("cached model removed", extra={"key": path.name})
                        shutil.rmtree(path, ignore_errors=True)
            except OSError:
                continue  # another process was faster, or is fetching just this: a large file may take longer than is kept

    @contextmanager
    def _locked(self, key: str, *, wait: bool = True) -> Iterator[None]:
        """Raises BlockingIOError if another holds the key and `wait` is false."""
        with (self.directory / f"{key}.lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
