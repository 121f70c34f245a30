"""The route from a file, looked at again and again: for a file that somebody mounts or writes, with or without a cluster.

    file --(changed?)--> read_route --> RouteKeeper

A file that is wrong leaves the route as it was. What a file says is taken as it is, whichever revision it had before: who writes
it is not known, and may well mean to put the older one back. Reading takes place in a thread: a slow volume never holds up a
request.
"""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import InvalidInput, PenstockError
from penstock_transformer.counters import Counters
from penstock_transformer.route.keeping import RouteKeeper
from penstock_transformer.route.status import RouteFault, RouteStatus
from penstock_transformer.route_file import MAX_BYTES, read_route, revision_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Stamp:
    modified_ns: int
    inode: int
    size: int


class RouteFileWatcher:
    """Keeps the route at what a file says. `poll_s`: how often it is looked at."""

    def __init__(
        self, file: Path, model: str, keeper: RouteKeeper, status: RouteStatus, counters: Counters, *, poll_s: float = 1.0
    ) -> None:
        self.keeper = keeper
        self._file = file
        self._model = model
        self._status = status
        self._counters = counters
        self._poll_s = poll_s
        self._stamp: _Stamp | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()

    async def start(self) -> None:
        """Return when the first route is applied, however long that takes; then go on watching."""
        self._status.source = "file"
        self.keeper.start()
        self._watcher = asyncio.create_task(self._run())
        await self.keeper.first.wait()

    async def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await self.keeper.close()

    async def look(self) -> bool:
        """Read the file if it has changed, and wait until what it says has been tried; whether the route is as wanted."""
        async with self._looking:
            read = await self._look()
        return await self.keeper.settled() and read

    async def _look(self) -> bool:
        text = ""
        try:
            changed = await asyncio.to_thread(self._read_if_changed)
            if changed is None:
                return True
            text = changed
            self.keeper.want(await asyncio.to_thread(read_route, text, self._model))
        except (PenstockError, OSError, UnicodeDecodeError) as error:
            wrong = error if isinstance(error, PenstockError) else InvalidInput(f"cannot be read: {error}", field="route_file")
            self._refuse(RouteFault.of(revision_of(text), wrong))
            return False
        return True

    def _refuse(self, fault: RouteFault) -> None:
        if fault == self._status.error:
            return
        self._counters.route_rejected += 1
        self._status.error = fault
        extra = {"model": self._model, "file": str(self._file), "field": fault.field, "reason": fault.message}
        logger.error("route file rejected", extra=extra)

    async def _run(self) -> None:
        while True:
            async with self._looking:
                await self._look()
            await asyncio.sleep(self._poll_s)

    def _read_if_changed(self) -> str | None:
        found = self._file.stat()
        stamp = _Stamp(found.st_mtime_ns, found.st_ino, found.st_size)
        if stamp == self._stamp:
            return None
        with self._file.open("rb") as opened:
            # One more than is taken, so that what is longer is told as too long.
            text = opened.read(4 * MAX_BYTES + 4).decode()
        self._stamp = stamp
        return text
